PRAGMA application_id=1819504748;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE conversations (
            id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, owner TEXT, root TEXT NOT NULL,
            created_at INTEGER NOT NULL, settings TEXT NOT NULL);
INSERT INTO "conversations" VALUES(1,'3cd5e1215a5692fb311177c3','ann','golden',1795248000000000,'{"v":1,"counter":"o200k_base","system_prompt":"Be brief.","system_tokens":3,"model":"gpt-4o-mini","metadata":{},"infinite_context":null,"policy":{"token_threshold":4000,"max_turns":null,"hard_factor":1.25,"tail_share":0.2,"seed_share":0.25,"minimum_gain":0.3,"on_hard_limit":null,"hard_wait_s":20.0,"lease_s":60.0}}');
CREATE TABLE events (
            place INTEGER PRIMARY KEY, cumulative INTEGER NOT NULL, event_id TEXT NOT NULL,
            body TEXT NOT NULL);
INSERT INTO "events" VALUES(4294967297,13,'P6xFfRAIrkezolUkApJ','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.316021+00:00","origin":"user","tokens":13,"message":{"role":"user","content":"My order A-1042 never came. Never call me."}}');
INSERT INTO "events" VALUES(4294967298,18,'P6xFfRulxV5A7PW-KFq','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.362988+00:00","origin":"assistant","tokens":5,"message":{"role":"assistant","content":"I look it up."},"data":{"model":"gpt-4o-mini","usage":{"input_tokens":120,"output_tokens":30,"cache_read_tokens":40},"cost_pico":33000000,"prices":"65f058fe23b3","report":{"tokens":150,"model":"gpt-4o-mini","ratio":1.096,"samples":1,"index":0}}}');
INSERT INTO "events" VALUES(4294967299,31,'P6xFfRvLsmbpz-n6PdW','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.363950+00:00","origin":"assistant","tokens":13,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_P6xFfRv9L5k6AeMKKx-","type":"function","function":{"name":"find_order","arguments":"{\"id\":\"A-1042\"}"}}]},"data":{"synthetic":true}}');
INSERT INTO "events" VALUES(4294967300,42,'P6xFfRv1k5YxRHrlfKx','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.363970+00:00","origin":"tool","tokens":11,"message":{"role":"tool","content":"{\"state\":\"lost\",\"refund\":\"19.90\"}","tool_call_id":"call_P6xFfRv9L5k6AeMKKx-"},"data":{"tool":{"name":"find_order"}}}');
INSERT INTO "events" VALUES(4294967301,54,'P6xFfRwOcmt_WLvXbAQ','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.364348+00:00","origin":"assistant","tokens":12,"message":{"role":"assistant","content":"It is lost; you get 19.90 back."},"data":{"model":"gpt-4o-mini","usage":{"input_tokens":120,"output_tokens":30,"cache_read_tokens":40},"cost_pico":33000000,"prices":"65f058fe23b3","report":{"tokens":150,"model":"gpt-4o-mini","ratio":1.1667,"samples":2,"index":0}}}');
INSERT INTO "events" VALUES(4294967302,83,'P6xFfRwGRBzfJC44Jrp','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.364668+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-0? What of parcel B-0? What of parcel B-0? What of parcel B-0? "}}');
INSERT INTO "events" VALUES(4294967303,111,'P6xFfRwnTk9JbvNcc7A','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.364688+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-0 is on its way. Parcel B-0 is on its way. Parcel B-0 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967304,140,'P6xFfRwqlMy6F72vTU4','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.364922+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-1? What of parcel B-1? What of parcel B-1? What of parcel B-1? "}}');
INSERT INTO "events" VALUES(4294967305,168,'P6xFfRwoMAHu-e8W7UC','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.364933+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-1 is on its way. Parcel B-1 is on its way. Parcel B-1 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967306,197,'P6xFfRxaq46QGjOcHQY','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365216+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-2? What of parcel B-2? What of parcel B-2? What of parcel B-2? "}}');
INSERT INTO "events" VALUES(4294967307,225,'P6xFfRxdyOsILchQ3WP','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365231+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-2 is on its way. Parcel B-2 is on its way. Parcel B-2 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967308,254,'P6xFfRxox_sAhQDjlC1','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365460+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-3? What of parcel B-3? What of parcel B-3? What of parcel B-3? "}}');
INSERT INTO "events" VALUES(4294967309,282,'P6xFfRxNB9ncwpMNoD8','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365470+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-3 is on its way. Parcel B-3 is on its way. Parcel B-3 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967310,311,'P6xFfRxQkUlYwz3qc5f','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365654+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-4? What of parcel B-4? What of parcel B-4? What of parcel B-4? "}}');
INSERT INTO "events" VALUES(4294967311,339,'P6xFfRxEJhyaPxIqzoF','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365663+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-4 is on its way. Parcel B-4 is on its way. Parcel B-4 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967312,368,'P6xFfRxKc4wQHOobOaZ','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365902+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-5? What of parcel B-5? What of parcel B-5? What of parcel B-5? "}}');
INSERT INTO "events" VALUES(4294967313,396,'P6xFfRxmUoTDkrpz0vW','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.365913+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-5 is on its way. Parcel B-5 is on its way. Parcel B-5 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967314,396,'P6xFfSy1Az7-HAJm2w3','{"v":1,"kind":"segment.created","at":"2026-11-21T08:39:30.430818+00:00","origin":"system","data":{"trigger":"manual","index":1,"cut":5,"writer":"extractive","before_tokens":396,"tail_tokens":342,"seed_tokens":50,"model_calls":[],"rejections":[],"notes":{"ledger.over_budget":6}}}');
INSERT INTO "events" VALUES(4294967315,396,'P6xFfT-AVBJILFUy-84','{"v":1,"kind":"settings","at":"2026-11-21T08:39:30.432361+00:00","origin":"system","data":{"settings":{"v":1,"counter":"o200k_base","system_prompt":"Be brief.","system_tokens":3,"model":"gpt-4o-mini","metadata":{},"infinite_context":null,"policy":{"token_threshold":4000,"max_turns":null,"hard_factor":1.25,"tail_share":0.2,"seed_share":0.25,"minimum_gain":0.3,"on_hard_limit":null,"hard_wait_s":20.0,"lease_s":60.0}}}}');
INSERT INTO "events" VALUES(4294967316,425,'P6xFfT0sjj_ItY1iqbS','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.433303+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-6? What of parcel B-6? What of parcel B-6? What of parcel B-6? "}}');
INSERT INTO "events" VALUES(4294967317,453,'P6xFfT0Vz4W2uIu6jYB','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.433324+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-6 is on its way. Parcel B-6 is on its way. Parcel B-6 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967318,482,'P6xFfT0MPcrPZvw-9TK','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.433652+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-7? What of parcel B-7? What of parcel B-7? What of parcel B-7? "}}');
INSERT INTO "events" VALUES(4294967319,510,'P6xFfT0D3fpZlDn69uG','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.433665+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-7 is on its way. Parcel B-7 is on its way. Parcel B-7 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967320,539,'P6xFfT06DM9nU7B7rkW','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.433950+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-8? What of parcel B-8? What of parcel B-8? What of parcel B-8? "}}');
INSERT INTO "events" VALUES(4294967321,567,'P6xFfT0pdewkJPh3O9W','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.433962+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-8 is on its way. Parcel B-8 is on its way. Parcel B-8 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967322,596,'P6xFfT1eA9M9y3wo_aM','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.434205+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-9? What of parcel B-9? What of parcel B-9? What of parcel B-9? "}}');
INSERT INTO "events" VALUES(4294967323,624,'P6xFfT1Q7R9BcqAv82B','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.434259+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-9 is on its way. Parcel B-9 is on its way. Parcel B-9 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967324,653,'P6xFfT1KH05M6MMvhhL','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.434484+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-10? What of parcel B-10? What of parcel B-10? What of parcel B-10? "}}');
INSERT INTO "events" VALUES(4294967325,681,'P6xFfT1_cABcPMJaPEA','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.434494+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-10 is on its way. Parcel B-10 is on its way. Parcel B-10 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967326,710,'P6xFfT1PFY9WGhdlwm5','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.434700+00:00","origin":"user","tokens":29,"message":{"role":"user","content":"What of parcel B-11? What of parcel B-11? What of parcel B-11? What of parcel B-11? "}}');
INSERT INTO "events" VALUES(4294967327,738,'P6xFfT19lDqKGDCxlmz','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.434709+00:00","origin":"assistant","tokens":28,"message":{"role":"assistant","content":"Parcel B-11 is on its way. Parcel B-11 is on its way. Parcel B-11 is on its way. "},"data":{"model":"gpt-4o-mini"}}');
INSERT INTO "events" VALUES(4294967328,738,'P6xFfT51466ZsieJJah','{"v":1,"kind":"segment.created","at":"2026-11-21T08:39:30.438436+00:00","origin":"system","data":{"trigger":"manual","index":2,"cut":7,"writer":"extractive","before_tokens":734,"tail_tokens":627,"seed_tokens":101,"model_calls":[],"rejections":[],"notes":{"ledger.over_budget":2}}}');
INSERT INTO "events" VALUES(4294967329,748,'P6xFfT69TJZImN4xnsA','{"v":1,"kind":"message","at":"2026-11-21T08:39:30.439241+00:00","origin":"user","tokens":10,"message":{"role":"user","content":"Grüße, and 再见 🌍"},"data":{"metadata":{"channel":"web"}}}');
CREATE TABLE heads (
            conversation INTEGER PRIMARY KEY, tip INTEGER, start_seq INTEGER, last_seq INTEGER,
            total_tokens INTEGER, start_tokens INTEGER, seed_tokens INTEGER, opened_seq INTEGER,
            opened_turns INTEGER, settings_seq INTEGER, message_seq INTEGER, skipped_seq INTEGER,
            report TEXT, report_total INTEGER, counters TEXT, fence INTEGER, first_seq INTEGER,
            lease_until REAL, touched REAL);
INSERT INTO "heads" VALUES(1,2,8,33,748,111,101,32,13,19,33,0,'{"tokens":150,"model":"gpt-4o-mini","ratio":1.1667,"samples":2,"index":0}',54,'[28,14,14,1,1,2,12,2,240,60,80,0,0,66000000,0,0,0,0,0]',2,1,0.0,1795248000.0);
CREATE TABLE ids (
            conversation INTEGER NOT NULL, event_id TEXT NOT NULL, seq INTEGER NOT NULL,
            PRIMARY KEY (event_id, conversation)) WITHOUT ROWID;
INSERT INTO "ids" VALUES(1,'P6xFfRAIrkezolUkApJ',1);
INSERT INTO "ids" VALUES(1,'P6xFfRulxV5A7PW-KFq',2);
INSERT INTO "ids" VALUES(1,'P6xFfRv1k5YxRHrlfKx',4);
INSERT INTO "ids" VALUES(1,'P6xFfRvLsmbpz-n6PdW',3);
INSERT INTO "ids" VALUES(1,'P6xFfRwGRBzfJC44Jrp',6);
INSERT INTO "ids" VALUES(1,'P6xFfRwOcmt_WLvXbAQ',5);
INSERT INTO "ids" VALUES(1,'P6xFfRwnTk9JbvNcc7A',7);
INSERT INTO "ids" VALUES(1,'P6xFfRwoMAHu-e8W7UC',9);
INSERT INTO "ids" VALUES(1,'P6xFfRwqlMy6F72vTU4',8);
INSERT INTO "ids" VALUES(1,'P6xFfRxEJhyaPxIqzoF',15);
INSERT INTO "ids" VALUES(1,'P6xFfRxKc4wQHOobOaZ',16);
INSERT INTO "ids" VALUES(1,'P6xFfRxNB9ncwpMNoD8',13);
INSERT INTO "ids" VALUES(1,'P6xFfRxQkUlYwz3qc5f',14);
INSERT INTO "ids" VALUES(1,'P6xFfRxaq46QGjOcHQY',10);
INSERT INTO "ids" VALUES(1,'P6xFfRxdyOsILchQ3WP',11);
INSERT INTO "ids" VALUES(1,'P6xFfRxmUoTDkrpz0vW',17);
INSERT INTO "ids" VALUES(1,'P6xFfRxox_sAhQDjlC1',12);
INSERT INTO "ids" VALUES(1,'P6xFfSy1Az7-HAJm2w3',18);
INSERT INTO "ids" VALUES(1,'P6xFfT-AVBJILFUy-84',19);
INSERT INTO "ids" VALUES(1,'P6xFfT06DM9nU7B7rkW',24);
INSERT INTO "ids" VALUES(1,'P6xFfT0D3fpZlDn69uG',23);
INSERT INTO "ids" VALUES(1,'P6xFfT0MPcrPZvw-9TK',22);
INSERT INTO "ids" VALUES(1,'P6xFfT0Vz4W2uIu6jYB',21);
INSERT INTO "ids" VALUES(1,'P6xFfT0pdewkJPh3O9W',25);
INSERT INTO "ids" VALUES(1,'P6xFfT0sjj_ItY1iqbS',20);
INSERT INTO "ids" VALUES(1,'P6xFfT19lDqKGDCxlmz',31);
INSERT INTO "ids" VALUES(1,'P6xFfT1KH05M6MMvhhL',28);
INSERT INTO "ids" VALUES(1,'P6xFfT1PFY9WGhdlwm5',30);
INSERT INTO "ids" VALUES(1,'P6xFfT1Q7R9BcqAv82B',27);
INSERT INTO "ids" VALUES(1,'P6xFfT1_cABcPMJaPEA',29);
INSERT INTO "ids" VALUES(1,'P6xFfT1eA9M9y3wo_aM',26);
INSERT INTO "ids" VALUES(1,'P6xFfT51466ZsieJJah',32);
INSERT INTO "ids" VALUES(1,'P6xFfT69TJZImN4xnsA',33);
CREATE TABLE recall_marks (
    conversation INTEGER PRIMARY KEY, secret BLOB NOT NULL, words INTEGER NOT NULL, through INTEGER NOT NULL,
    through_id TEXT NOT NULL, passages INTEGER NOT NULL);
CREATE TABLE retired (place INTEGER PRIMARY KEY, event_id TEXT NOT NULL);
CREATE TABLE segments (
            place INTEGER PRIMARY KEY, start_seq INTEGER NOT NULL, end_seq INTEGER,
            start_tokens INTEGER NOT NULL, opened_at INTEGER NOT NULL, summary TEXT);
INSERT INTO "segments" VALUES(4294967296,1,5,0,1795248000000000,NULL);
INSERT INTO "segments" VALUES(4294967297,6,7,54,1795248000000000,'{"v":1,"seed":"[Notes on events 1-5]\nConstraints that were stated:\n- Never call me.\nRequests:\n- My order A-1042 never came. Never call me.\n[End of notes; 6 more entries are only in the log]","summary":{"v":1,"through":5,"model_through":0,"entries":[{"id":"e1","kind":"constraint","text":"My order A-1042 never came.","sources":[1],"origin":"user"},{"id":"e2","kind":"constraint","text":"Never call me.","sources":[1],"origin":"user"},{"id":"e3","kind":"objective","text":"My order A-1042 never came. Never call me.","sources":[1],"origin":"user","key":"objective"},{"id":"e4","kind":"fact","text":"id=A-1042","sources":[1,3,4],"origin":"tool","key":"id=A-1042|"},{"id":"e5","kind":"tool_outcome","text":"find_order(id=A-1042) -> ok","sources":[3,4],"origin":"tool","key":"call|find_order(id=A-1042)"},{"id":"e6","kind":"fact","text":"id=A-1042 state=lost","sources":[3,4,5],"origin":"tool","key":"id=A-1042|state"},{"id":"e7","kind":"fact","text":"id=A-1042 refund=19.90","sources":[3,4,5],"origin":"tool","key":"id=A-1042|refund"},{"id":"e8","kind":"fact","text":"code=19.90","sources":[5],"origin":"assistant","key":"code=19.90|"}],"narrative":"","narrative_model":null,"writer":"extractive","omitted":0,"next_entry":9}}');
INSERT INTO "segments" VALUES(4294967298,8,NULL,111,1795248000000000,'{"v":1,"seed":"[Notes on events 1-7]\nConstraints that were stated:\n- My order A-1042 never came.\n- Never call me.\nRequests:\n- What of parcel B-0? What of parcel B-0? What of parcel B-0? What of parcel B-0?\nValues:\n- id=A-1042: state=lost; refund=19.90\n- code=19.90\n[End of notes; 2 more entries are only in the log]","summary":{"v":1,"through":7,"model_through":0,"entries":[{"id":"e1","kind":"constraint","text":"My order A-1042 never came.","sources":[1],"origin":"user"},{"id":"e2","kind":"constraint","text":"Never call me.","sources":[1],"origin":"user"},{"id":"e3","kind":"objective","text":"My order A-1042 never came. Never call me.","sources":[1],"origin":"user","key":"objective"},{"id":"e4","kind":"fact","text":"id=A-1042","sources":[1,3,4],"origin":"tool","key":"id=A-1042|"},{"id":"e5","kind":"tool_outcome","text":"find_order(id=A-1042) -> ok","sources":[3,4],"origin":"tool","key":"call|find_order(id=A-1042)"},{"id":"e6","kind":"fact","text":"id=A-1042 state=lost","sources":[3,4,5],"origin":"tool","key":"id=A-1042|state"},{"id":"e7","kind":"fact","text":"id=A-1042 refund=19.90","sources":[3,4,5],"origin":"tool","key":"id=A-1042|refund"},{"id":"e8","kind":"fact","text":"code=19.90","sources":[5],"origin":"assistant","key":"code=19.90|"},{"id":"e9","kind":"objective","text":"What of parcel B-0? What of parcel B-0? What of parcel B-0? What of parcel B-0?","sources":[6],"origin":"user","key":"request@6"}],"narrative":"","narrative_model":null,"writer":"extractive","omitted":0,"next_entry":10}}');
CREATE TABLE tombstones (digest TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "tombstones" VALUES('d58c6000bbda8923f8fba8c6',1795334400.0);
CREATE TABLE trace_logs (
            id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, owner TEXT, log_id TEXT NOT NULL,
            last_seq INTEGER NOT NULL, through_seq INTEGER, sums TEXT);
INSERT INTO "trace_logs" VALUES(1,'39bc23f431bbf98c3b311932','aac5aea5e334c98ebb3eb9c5','0de3c38151a1417ab5f6ea3501da6037',2,2,'{"find_order": {"schema": 1, "days": {"20778": [1, 1]}, "older": [0, 0, 0], "newest": [["2026-11-21T08:00:00+00:00", "call-1", true, "object(state)"], ["2026-11-21T08:00:00+00:00", "call-2", false, ""]], "first_at": "2026-11-21T08:00:00+00:00", "last_at": "2026-11-21T08:00:00+00:00", "buckets": {}, "tokens": [0, 0], "cost": [0, "0"], "arms": {}, "errors": {"not found: not found": [0, 1]}, "features": {"": [1, 1], "id\u001f:id": [1, 1]}, "sequences": {}, "goals": {}, "shapes": {"object(state)": [1, 0]}, "corrections": []}}');
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
COMMIT;
