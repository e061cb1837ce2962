PRAGMA application_id=1819504748;
PRAGMA user_version=2;
BEGIN TRANSACTION;
CREATE TABLE conversations (
            id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, owner TEXT, root TEXT NOT NULL,
            created_at INTEGER NOT NULL, settings TEXT NOT NULL, ancestor TEXT, fork_seq INTEGER);
INSERT INTO "conversations" VALUES(1,'3cd5e1215a5692fb311177c3','ann','golden',1795248000000000,'{"v":1,"counter":"o200k_base","system_prompt":"Be brief.","system_tokens":3,"model":"gpt-4o-mini","metadata":{},"infinite_context":null,"policy":{"token_threshold":4000,"max_turns":null,"hard_factor":1.25,"tail_share":0.2,"seed_share":0.25,"minimum_gain":0.3,"on_hard_limit":null,"hard_wait_s":20.0,"lease_s":60.0,"summary_mode":"auto"}}',NULL,NULL);
CREATE TABLE events (
            place INTEGER PRIMARY KEY, cumulative INTEGER NOT NULL, event_id TEXT NOT NULL,
            body TEXT NOT NULL);
INSERT INTO "events" VALUES(4294967297,13,'P6y5m55-r2Ul1Elj9gq','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.350872+00:00","origin":"user","tokens":13,"message":{"role":"user","content":"My order A-1042 never came. Never call me."}}');
INSERT INTO "events" VALUES(4294967298,18,'P6y5m5p9rZwjAneSR-s','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.397584+00:00","origin":"assistant","tokens":5,"message":{"role":"assistant","content":"I look it up."},"data":{"model":"gpt-4o-mini","usage":{"input_tokens":120,"output_tokens":30,"cache_read_tokens":40},"cost_pico":33000000,"prices":"65f058fe23b3","report":{"tokens":150,"model":"gpt-4o-mini","ratio":1.096,"samples":1,"index":0,"raw":16,"once":0,"tools":0}}}');
INSERT INTO "events" VALUES(4294967299,31,'P6y5m5r2HGH1VVR78ii','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.399275+00:00","origin":"assistant","tokens":13,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_P6y5m5rVAHblUpKASqX","type":"function","function":{"name":"find_order","arguments":"{\"id\":\"A-1042\"}"}}]},"data":{"synthetic":true}}');
INSERT INTO "events" VALUES(4294967300,42,'P6y5m5rRlNehNXA-aps','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.399305+00:00","origin":"tool","tokens":11,"message":{"role":"tool","content":"{\"state\":\"lost\",\"refund\":\"19.90\"}","tool_call_id":"call_P6y5m5rVAHblUpKASqX"},"data":{"tool":{"name":"find_order","json":true}}}');
INSERT INTO "events" VALUES(4294967301,54,'P6y5m5s_bZrU8lkKxS8','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.400057+00:00","origin":"assistant","tokens":12,"message":{"role":"assistant","content":"It is lost; you get 19.90 back."},"data":{"model":"gpt-4o-mini","usage":{"input_tokens":120,"output_tokens":30,"cache_read_tokens":40},"cost_pico":33000000,"prices":"65f058fe23b3","report":{"tokens":150,"model":"gpt-4o-mini","ratio":1.1667,"samples":2,"index":0,"raw":45,"once":0,"tools":0}}}');
INSERT INTO "events" VALUES(4294967302,83,'P6y5m5sAt0tTqV2DRSO','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.400691+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-0? What of parcel B-0? What of parcel B-0? What of parcel B-0? "}}');
INSERT INTO "events" VALUES(4294967303,111,'P6y5m5sRy9gODBeyfJf','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.400720+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-0 is on its way. Parcel B-0 is on its way. Parcel B-0 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967304,140,'P6y5m5tbQgbwt-GlOuz','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.401134+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-1? What of parcel B-1? What of parcel B-1? What of parcel B-1? "}}');
INSERT INTO "events" VALUES(4294967305,168,'P6y5m5tKhXFlEjdOLsc','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.401153+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-1 is on its way. Parcel B-1 is on its way. Parcel B-1 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967306,197,'P6y5m5tIxq3vGrduXH1','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.401518+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-2? What of parcel B-2? What of parcel B-2? What of parcel B-2? "}}');
INSERT INTO "events" VALUES(4294967307,225,'P6y5m5tuvH8gKiJgg3p','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.401536+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-2 is on its way. Parcel B-2 is on its way. Parcel B-2 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967308,254,'P6y5m5tP664Jf9EZ7tm','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.401853+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-3? What of parcel B-3? What of parcel B-3? What of parcel B-3? "}}');
INSERT INTO "events" VALUES(4294967309,282,'P6y5m5tTCVyACRiU3Q7','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.401869+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-3 is on its way. Parcel B-3 is on its way. Parcel B-3 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967310,311,'P6y5m5utuRSVVMZrqbl','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.402177+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-4? What of parcel B-4? What of parcel B-4? What of parcel B-4? "}}');
INSERT INTO "events" VALUES(4294967311,339,'P6y5m5uTgTmFcLk1N8-','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.402191+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-4 is on its way. Parcel B-4 is on its way. Parcel B-4 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967312,368,'P6y5m5uWJsZymdFa8q5','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.402652+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-5? What of parcel B-5? What of parcel B-5? What of parcel B-5? "}}');
INSERT INTO "events" VALUES(4294967313,396,'P6y5m5u_Fd1xGf6vx4D','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.402669+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-5 is on its way. Parcel B-5 is on its way. Parcel B-5 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967314,396,'P6y5m7aAsW4PetZCZM3','{"v":1,"kind":"segment.created","at":"2026-11-21T12:35:53.510686+00:00","origin":"system","data":{"trigger":"manual","index":1,"cut":5,"writer":"extractive","before_tokens":396,"tail_tokens":342,"seed_tokens":50,"model_calls":[],"rejections":[],"notes":{"ledger.over_budget":7}}}');
INSERT INTO "events" VALUES(4294967315,396,'P6y5m7g-RLtkcqh1T5C','{"v":1,"kind":"settings","at":"2026-11-21T12:35:53.516061+00:00","origin":"system","data":{"settings":{"v":1,"counter":"o200k_base","system_prompt":"Be brief.","system_tokens":3,"model":"gpt-4o-mini","metadata":{},"infinite_context":null,"policy":{"token_threshold":4000,"max_turns":null,"hard_factor":1.25,"tail_share":0.2,"seed_share":0.25,"minimum_gain":0.3,"on_hard_limit":null,"hard_wait_s":20.0,"lease_s":60.0,"summary_mode":"auto"}}}}');
INSERT INTO "events" VALUES(4294967316,425,'P6y5m7hk61Q0sg262ae','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.517380+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-6? What of parcel B-6? What of parcel B-6? What of parcel B-6? "}}');
INSERT INTO "events" VALUES(4294967317,453,'P6y5m7hcYQUB2TC5lwK','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.517407+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-6 is on its way. Parcel B-6 is on its way. Parcel B-6 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967318,482,'P6y5m7hfSpSRFEtoFcO','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.517854+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-7? What of parcel B-7? What of parcel B-7? What of parcel B-7? "}}');
INSERT INTO "events" VALUES(4294967319,510,'P6y5m7hHPPc_Rb4rxBP','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.517870+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-7 is on its way. Parcel B-7 is on its way. Parcel B-7 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967320,539,'P6y5m7iL1EwU4-7Bg_O','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.518305+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-8? What of parcel B-8? What of parcel B-8? What of parcel B-8? "}}');
INSERT INTO "events" VALUES(4294967321,567,'P6y5m7i_efXc4i-c8pn','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.518319+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-8 is on its way. Parcel B-8 is on its way. Parcel B-8 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967322,596,'P6y5m7iWSdokDfUx4Jh','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.518641+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-9? What of parcel B-9? What of parcel B-9? What of parcel B-9? "}}');
INSERT INTO "events" VALUES(4294967323,624,'P6y5m7iaQ1MOELpvyqD','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.518654+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-9 is on its way. Parcel B-9 is on its way. Parcel B-9 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967324,653,'P6y5m7i6GoX3xaSSvOr','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.518948+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-10? What of parcel B-10? What of parcel B-10? What of parcel B-10? "}}');
INSERT INTO "events" VALUES(4294967325,681,'P6y5m7iaaNtTL51YwMw','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.518961+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-10 is on its way. Parcel B-10 is on its way. Parcel B-10 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967326,710,'P6y5m7jjuGYSwHwrs38','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.519252+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-11? What of parcel B-11? What of parcel B-11? What of parcel B-11? "}}');
INSERT INTO "events" VALUES(4294967327,738,'P6y5m7j5q1U1xkqLem_','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.519265+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-11 is on its way. Parcel B-11 is on its way. Parcel B-11 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967328,738,'P6y5m7mDle2XC77-lVf','{"v":1,"kind":"segment.created","at":"2026-11-21T12:35:53.522722+00:00","origin":"system","data":{"trigger":"manual","index":2,"cut":7,"writer":"extractive","before_tokens":734,"tail_tokens":627,"seed_tokens":101,"model_calls":[],"rejections":[],"notes":{"ledger.over_budget":3},"savings":{"segmentations":0,"expected_pico":0,"unexpected":0,"saved_pico":0,"known_calls":0,"unknown_calls":0,"summary_pico":0,"unknown_summaries":0,"through":31,"expected":null}}}');
INSERT INTO "events" VALUES(4294967329,748,'P6y5m7p8NcOzrCH8K8Q','{"v":1,"kind":"message","at":"2026-11-21T12:35:53.525173+00:00","origin":"user","tokens":10,"message":{"role":"user","content":"Grüße, and 再见 🌍"},"data":{"metadata":{"channel":"web"}}}');
CREATE TABLE heads (
            conversation INTEGER PRIMARY KEY, tip INTEGER, start_seq INTEGER, last_seq INTEGER,
            total_tokens INTEGER, start_tokens INTEGER, seed_tokens INTEGER, opened_seq INTEGER,
            opened_turns INTEGER, settings_seq INTEGER, message_seq INTEGER, skipped_seq INTEGER,
            report TEXT, report_total INTEGER, counters TEXT, fence INTEGER, first_seq INTEGER,
            lease_until REAL, touched REAL);
INSERT INTO "heads" VALUES(1,2,8,33,748,111,101,32,13,19,33,0,'{"tokens":150,"model":"gpt-4o-mini","ratio":1.1667,"samples":2,"index":0,"raw":45,"once":0,"tools":0}',54,'[28,14,14,1,1,2,12,2,240,60,80,0,0,66000000,0,0,0,0,0]',2,1,0.0,1795248000.0);
CREATE TABLE ids (
            conversation INTEGER NOT NULL, event_id TEXT NOT NULL, seq INTEGER NOT NULL,
            PRIMARY KEY (event_id, conversation)) WITHOUT ROWID;
INSERT INTO "ids" VALUES(1,'P6y5m55-r2Ul1Elj9gq',1);
INSERT INTO "ids" VALUES(1,'P6y5m5p9rZwjAneSR-s',2);
INSERT INTO "ids" VALUES(1,'P6y5m5r2HGH1VVR78ii',3);
INSERT INTO "ids" VALUES(1,'P6y5m5rRlNehNXA-aps',4);
INSERT INTO "ids" VALUES(1,'P6y5m5sAt0tTqV2DRSO',6);
INSERT INTO "ids" VALUES(1,'P6y5m5sRy9gODBeyfJf',7);
INSERT INTO "ids" VALUES(1,'P6y5m5s_bZrU8lkKxS8',5);
INSERT INTO "ids" VALUES(1,'P6y5m5tIxq3vGrduXH1',10);
INSERT INTO "ids" VALUES(1,'P6y5m5tKhXFlEjdOLsc',9);
INSERT INTO "ids" VALUES(1,'P6y5m5tP664Jf9EZ7tm',12);
INSERT INTO "ids" VALUES(1,'P6y5m5tTCVyACRiU3Q7',13);
INSERT INTO "ids" VALUES(1,'P6y5m5tbQgbwt-GlOuz',8);
INSERT INTO "ids" VALUES(1,'P6y5m5tuvH8gKiJgg3p',11);
INSERT INTO "ids" VALUES(1,'P6y5m5uTgTmFcLk1N8-',15);
INSERT INTO "ids" VALUES(1,'P6y5m5uWJsZymdFa8q5',16);
INSERT INTO "ids" VALUES(1,'P6y5m5u_Fd1xGf6vx4D',17);
INSERT INTO "ids" VALUES(1,'P6y5m5utuRSVVMZrqbl',14);
INSERT INTO "ids" VALUES(1,'P6y5m7aAsW4PetZCZM3',18);
INSERT INTO "ids" VALUES(1,'P6y5m7g-RLtkcqh1T5C',19);
INSERT INTO "ids" VALUES(1,'P6y5m7hHPPc_Rb4rxBP',23);
INSERT INTO "ids" VALUES(1,'P6y5m7hcYQUB2TC5lwK',21);
INSERT INTO "ids" VALUES(1,'P6y5m7hfSpSRFEtoFcO',22);
INSERT INTO "ids" VALUES(1,'P6y5m7hk61Q0sg262ae',20);
INSERT INTO "ids" VALUES(1,'P6y5m7i6GoX3xaSSvOr',28);
INSERT INTO "ids" VALUES(1,'P6y5m7iL1EwU4-7Bg_O',24);
INSERT INTO "ids" VALUES(1,'P6y5m7iWSdokDfUx4Jh',26);
INSERT INTO "ids" VALUES(1,'P6y5m7i_efXc4i-c8pn',25);
INSERT INTO "ids" VALUES(1,'P6y5m7iaQ1MOELpvyqD',27);
INSERT INTO "ids" VALUES(1,'P6y5m7iaaNtTL51YwMw',29);
INSERT INTO "ids" VALUES(1,'P6y5m7j5q1U1xkqLem_',31);
INSERT INTO "ids" VALUES(1,'P6y5m7jjuGYSwHwrs38',30);
INSERT INTO "ids" VALUES(1,'P6y5m7mDle2XC77-lVf',32);
INSERT INTO "ids" VALUES(1,'P6y5m7p8NcOzrCH8K8Q',33);
CREATE TABLE recall_marks (
    conversation INTEGER PRIMARY KEY, secret BLOB NOT NULL, words INTEGER NOT NULL, through INTEGER NOT NULL,
    through_id TEXT NOT NULL, passages INTEGER NOT NULL, cut INTEGER NOT NULL DEFAULT 0);
CREATE TABLE retired (place INTEGER PRIMARY KEY, event_id TEXT NOT NULL);
CREATE TABLE segments (
            place INTEGER PRIMARY KEY, start_seq INTEGER NOT NULL, end_seq INTEGER,
            start_tokens INTEGER NOT NULL, opened_at INTEGER NOT NULL, summary TEXT);
INSERT INTO "segments" VALUES(4294967296,1,5,0,1795248000000000,NULL);
INSERT INTO "segments" VALUES(4294967297,6,7,54,1795248000000000,'{"v":1,"seed":"[Notes on events 1-5]\nConstraints that were stated:\n- Never call me.\nRequests:\n- My order A-1042 never came. Never call me.\n[End of notes; 7 more entries are only in the log]","summary":{"v":1,"through":5,"model_through":0,"entries":[{"id":"e1","kind":"constraint","text":"My order A-1042 never came.","sources":[1],"origin":"user"},{"id":"e2","kind":"constraint","text":"Never call me.","sources":[1],"origin":"user"},{"id":"e3","kind":"objective","text":"My order A-1042 never came. Never call me.","sources":[1],"origin":"user","key":"objective"},{"id":"e4","kind":"fact","text":"order=A-1042","sources":[1,3],"origin":"user","key":"|order"},{"id":"e5","kind":"fact","text":"id=A-1042","sources":[1,3,4],"origin":"tool","key":"id=A-1042|"},{"id":"e6","kind":"tool_outcome","text":"find_order(id=A-1042) -> ok","sources":[3,4],"origin":"tool","key":"call|find_order(id=A-1042)"},{"id":"e7","kind":"fact","text":"id=A-1042 state=lost","sources":[3,4,5],"origin":"tool","key":"id=A-1042|state"},{"id":"e8","kind":"fact","text":"id=A-1042 refund=19.90","sources":[3,4,5],"origin":"tool","key":"id=A-1042|refund"},{"id":"e9","kind":"fact","text":"code=19.90","sources":[5],"origin":"assistant","key":"code=19.90|"}],"narrative":"","narrative_model":null,"writer":"extractive","omitted":0,"next_entry":10}}');
INSERT INTO "segments" VALUES(4294967298,8,NULL,111,1795248000000000,'{"v":1,"seed":"[Notes on events 1-7]\nConstraints that were stated:\n- My order A-1042 never came.\n- Never call me.\nRequests:\n- What of parcel B-0? What of parcel B-0? What of parcel B-0? What of parcel B-0?\nValues:\n- id=A-1042: state=lost; refund=19.90\n- order=A-1042\n[End of notes; 3 more entries are only in the log]","summary":{"v":1,"through":7,"model_through":0,"entries":[{"id":"e1","kind":"constraint","text":"My order A-1042 never came.","sources":[1],"origin":"user"},{"id":"e2","kind":"constraint","text":"Never call me.","sources":[1],"origin":"user"},{"id":"e3","kind":"objective","text":"My order A-1042 never came. Never call me.","sources":[1],"origin":"user","key":"objective"},{"id":"e4","kind":"fact","text":"order=A-1042","sources":[1,3],"origin":"user","key":"|order"},{"id":"e5","kind":"fact","text":"id=A-1042","sources":[1,3,4],"origin":"tool","key":"id=A-1042|"},{"id":"e6","kind":"tool_outcome","text":"find_order(id=A-1042) -> ok","sources":[3,4],"origin":"tool","key":"call|find_order(id=A-1042)"},{"id":"e7","kind":"fact","text":"id=A-1042 state=lost","sources":[3,4,5],"origin":"tool","key":"id=A-1042|state"},{"id":"e8","kind":"fact","text":"id=A-1042 refund=19.90","sources":[3,4,5],"origin":"tool","key":"id=A-1042|refund"},{"id":"e9","kind":"fact","text":"code=19.90","sources":[5],"origin":"assistant","key":"code=19.90|"},{"id":"e10","kind":"objective","text":"What of parcel B-0? What of parcel B-0? What of parcel B-0? What of parcel B-0?","sources":[6],"origin":"user","key":"request@6"}],"narrative":"","narrative_model":null,"writer":"extractive","omitted":0,"next_entry":11}}');
CREATE TABLE tombstones (digest TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "tombstones" VALUES('d58c6000bbda8923f8fba8c6',1795334400.0);
CREATE TABLE trace_logs (
            id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, owner TEXT, log_id TEXT NOT NULL,
            last_seq INTEGER NOT NULL, through_seq INTEGER, sums TEXT);
INSERT INTO "trace_logs" VALUES(1,'39bc23f431bbf98c3b311932','aac5aea5e334c98ebb3eb9c5','2c7b622611c94a93a0579f290dab7c55',2,2,'{"find_order": {"schema": 1, "days": {"20778": [1, 1]}, "older": [0, 0, 0], "newest": [["2026-11-21T08:00:00+00:00", "call-1", true, "object(state)"], ["2026-11-21T08:00:00+00:00", "call-2", false, ""]], "first_at": "2026-11-21T08:00:00+00:00", "last_at": "2026-11-21T08:00:00+00:00", "buckets": {}, "tokens": [0, 0], "cost": [0, "0"], "arms": {}, "errors": {"not found: not found": [0, 1]}, "features": {"": [1, 1], "id\u001f:id": [1, 1]}, "sequences": {}, "goals": {}, "shapes": {"object(state)": [1, 0]}, "corrections": []}}');
CREATE TABLE traces (
            place INTEGER PRIMARY KEY, log INTEGER NOT NULL, trace_id BLOB NOT NULL, owner TEXT,
            body TEXT NOT NULL);
INSERT INTO "traces" VALUES(4294967297,1,X'18BC6F7C53A045ECAC7E8910',NULL,'{"schema": 1, "id": "call-1", "tool": "find_order", "at": "2026-11-21T08:00:00+00:00", "ok": true, "owner": "ann", "forms": {"id": "id"}, "shape": "object(state)"}');
INSERT INTO "traces" VALUES(4294967298,1,X'DE71715ADC8F47F7322B8B1B',NULL,'{"schema": 1, "id": "call-2", "tool": "find_order", "at": "2026-11-21T08:00:00+00:00", "ok": false, "owner": "ann", "forms": {"id": "id"}, "error_class": "not found", "error": "not found"}');
CREATE INDEX conversations_by_owner ON conversations (owner, created_at DESC, root);
CREATE INDEX conversations_by_age ON conversations (created_at DESC, root, owner);
CREATE INDEX trace_logs_by_owner ON trace_logs (owner);
CREATE UNIQUE INDEX traces_by_id ON traces (log, trace_id);
CREATE INDEX traces_by_owner ON traces (owner) WHERE owner IS NOT NULL;
CREATE INDEX forks ON conversations (ancestor) WHERE ancestor IS NOT NULL;
COMMIT;
