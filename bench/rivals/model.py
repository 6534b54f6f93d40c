"""The weights in ONNX Runtime."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bench.rivals.tokens import TOKEN_SIZE

HORIZON_DAYS = 30


class Model:
    """The weights in ONNX Runtime, one thread; rows of about the same length are scored together."""

    _TOKENS_PER_RUN = 1024  # more no longer fit the cache
    _PADDING_PER_RUN = 24  # tokens that cost as much as another run

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self._shop = np.array([manifest["shop_token"]], np.float32)
        self._offset = np.float32(manifest["calibration"]["offset"])
        edges = np.minimum(manifest["bin_edges_days"], HORIZON_DAYS)
        self._exposure_days = np.diff(edges, prepend=0.0)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(folder / "prefill.onnx", options, providers=["CPUExecutionProvider"])

    def probabilities(self, closed: np.ndarray, start: np.ndarray, count: np.ndarray, today: np.ndarray) -> np.ndarray:
        """Churn probability of R rows: `count` tokens of `closed` from `start` (R,) on, then `today` (R, 36)."""
        result = np.empty(len(today))
        order = np.argsort(count, kind="stable")
        for begin, end in self._runs(count[order]):
            rows = order[begin:end]
            before = count[rows]
            longest = int(before[-1])
            tokens = np.zeros((len(rows), longest + 1, TOKEN_SIZE), np.float32)
            if longest:
                place = np.arange(longest)
                there = place < before[:, None]
                tokens[:, :-1][there] = closed[(start[rows][:, None] + place)[there]]
            tokens[np.arange(len(rows)), before] = today[rows]
            result[rows] = self.score(tokens, before + 1)
        return result

    def score(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Churn probability of histories (R, L, 36) of these lengths."""
        given = {"tokens": tokens, "lengths": lengths, "shop": self._shop}
        [hazards] = self._session.run(["log_hazards"], given)
        return np.exp(-(np.exp(hazards[:, 0] + self._offset) @ self._exposure_days))

    def _runs(self, count: np.ndarray) -> Iterator[tuple[int, int]]:
        """Cuts of rows in ascending order of length, where another run costs less than the padding."""
        begin = 0
        while begin < len(count):
            end = begin
            while end < len(count):
                longest = int(count[end])
                most = begin + max(self._TOKENS_PER_RUN // (longest + 1), 1)
                padding = (end - begin) * (longest - int(count[end - 1])) if end > begin else 0
                if end >= most or padding > self._PADDING_PER_RUN:
                    break
                end = min(int(np.searchsorted(count, longest, side="right")), most)
            yield begin, end
            begin = end
