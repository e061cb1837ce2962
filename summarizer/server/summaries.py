"""Summaries by the upstream: the caller's model, paid by the caller, asked without litellm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from ..errors import InvalidSetting
from ..meter import Usage, cost_of, price_for
from ..summary import LlmSummarizer
from ..summary.llm import TEMPERATURE, ModelCallFailed, ModelReply, ModelRequest, failure_of
from .upstream import Upstream, UpstreamFailed

__all__ = ["summarizer_of"]

_OPTIONAL_STATUS: Final = (400, 404, 422)


def summarizer_of(upstream: Upstream, model: str, credentials: Mapping[str, str]) -> LlmSummarizer:
    """A summarizer that asks `model` with a caller's credentials; they live as long as it does."""

    def client(name: str, **_: Any) -> _UpstreamModel:
        return _UpstreamModel(upstream, name, credentials)

    return LlmSummarizer([model], model_factory=client)


class _Refused(Exception):
    """An error status; `failure_of` sorts it."""

    def __init__(self, status_code: int, headers: Mapping[str, str], told: str) -> None:
        super().__init__(told)
        self.status_code = status_code
        self.headers = headers


class _UpstreamModel:
    """A `SummaryModel`."""

    def __init__(self, upstream: Upstream, model: str, credentials: Mapping[str, str]) -> None:
        self._upstream = upstream
        self._model = model
        self._credentials = credentials

    def __repr__(self) -> str:
        return f"_UpstreamModel({self._model!r})"

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The model's answer; without schema and limits if the server refuses those."""
        plain: dict[str, Any] = {"model": self._model, "messages": request.messages}
        full = {**plain, "max_tokens": request.max_output_tokens, "temperature": TEMPERATURE}
        if request.tools:
            full |= {"tools": [dict(tool) for tool in request.tools], "tool_choice": "none"}
        if request.response_schema is not None:
            schema = {"name": "summary", "schema": request.response_schema, "strict": True}
            full["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:
            try:
                return await self._ask(full)
            except _Refused as refused:
                if refused.status_code not in _OPTIONAL_STATUS:
                    raise
                return await self._ask(plain)
        except UpstreamFailed as error:
            code = "model.timeout" if error.status == 504 else "model.unavailable"
            raise ModelCallFailed(f"summary model {self._model!r}: {error}", code) from None
        except (_Refused, ValueError) as error:
            raise failure_of(error, self._model) from None

    async def _ask(self, body: Mapping[str, Any]) -> ModelReply:
        headers = {**self._credentials, "content-type": "application/json", "accept": "application/json"}
        raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        async with self._upstream.ask("POST", "chat/completions", headers, raw) as answer:
            said = await answer.body()
            if answer.status != 200:
                told = {k.decode("latin-1"): v.decode("latin-1") for k, v in answer.headers}
                raise _Refused(answer.status, told, said.decode("utf-8", "replace"))
        return _reply(json.loads(said), self._model)


def _reply(said: object, model: str) -> ModelReply:
    response: Mapping[str, Any] = cast("Mapping[str, Any]", said) if isinstance(said, dict) else {}
    try:
        choice: Any = response["choices"][0]
        message: Any = choice["message"]
        text, finish = message.get("content") or "", choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("the summary model's answer is no completion") from error
    if not text and message.get("refusal"):
        text, finish = message["refusal"], "refusal"
    try:
        usage = Usage.from_response(response)
    except InvalidSetting:
        usage = None  # A provider's nonsense is no reason to lose its answer: unknown.
    price = price_for(model)
    return ModelReply(
        text=str(text),
        usage=usage,
        model=str(response.get("model") or model),
        cost_usd=None if usage is None or price is None else cost_of(usage, price),
        finish_reason=None if finish is None else str(finish),
    )
