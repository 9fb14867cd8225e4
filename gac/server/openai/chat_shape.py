"""The answer to a chat."""

from gac.core import FinishEvent
from gac.engine.writer import WrittenText
from gac.server.openai.likelihoods import chat_logprobs, listed, shown_tokens
from gac.server.openai.progress import Piece
from gac.server.openai.shape import Choice, OpenAIShape


class ChatShape(OpenAIShape):
    """Messages of the assistant; a stream begins with its role and ends without content."""

    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def _opening(self, place: int) -> Choice:
        delta = {"role": "assistant", "content": ""}
        return {"index": place, "delta": delta, "logprobs": None, "finish_reason": None}

    def _added(self, place: int, piece: Piece) -> Choice:
        return {
            "index": place,
            "delta": {"content": piece.text},
            "logprobs": chat_logprobs(listed(piece.shown)) if self._tells else None,
            "finish_reason": None,
        }

    def _ended(self, place: int, finish: FinishEvent) -> Choice:
        reason = finish.reason.value
        return {"index": place, "delta": {}, "logprobs": None, "finish_reason": reason}

    def _complete(self, place: int, text: WrittenText) -> Choice:
        message = {"role": "assistant", "content": text.text, "refusal": None}
        logprobs = chat_logprobs(listed(shown_tokens(text))) if self._tells else None
        return {"index": place, "message": message, "logprobs": logprobs}

    @property
    def _tells(self) -> bool:
        return self._job.asked.logprobs is not None
