"""Work that no change to the service alters: what its own is measured by, in the same run."""

import json
from collections.abc import Callable

import numpy as np
import onnx.parser
import onnxruntime as ort

_WIDTH, _ROWS = 64, 256
_NETWORK = f"""
<ir_version: 8, opset_import: ["" : 17]>
reference (float[n,{_WIDTH}] x, float[{_WIDTH},{_WIDTH}] w) => (float[n,{_WIDTH}] y) {{
    a = MatMul (x, w)
    b = Tanh (a)
    c = MatMul (b, w)
    d = Softmax <axis = 1> (c)
    y = MatMul (d, w)
}}
"""


def text() -> Callable[[], object]:
    """Parsing JSON, and putting a field of each into a column."""
    line = '{{"user":"customer-{0:08d}","kind":"view_item","at":{0},"value":{0}.25,"page":"/shop/{0:06d}"}}'
    lines = [line.format(number) for number in range(2_000)]

    def run() -> object:
        return np.array([json.loads(each)["value"] for each in lines])

    return run


def columns() -> Callable[[], object]:
    """Gathering, sorting and adding columns of a structured array."""
    rng = np.random.default_rng(1)
    table = np.zeros(20_000, [("key", "<i8"), ("value", "<f8"), ("many", "<u8", (16,))])
    table["key"], table["value"] = rng.integers(0, 4_000, len(table)), rng.random(len(table))
    index = rng.permutation(len(table))

    def run() -> object:
        taken = table[index]
        order = np.argsort(taken["key"], kind="stable")
        sums = np.cumsum(np.rint(taken["value"][order] * 1e4).astype(np.int64))
        found = (taken["many"] == taken["key"].astype(np.uint64)[:, None]).any(axis=1)
        return np.where(found, sums, np.maximum.accumulate(sums))

    return run


def network() -> Callable[[], object]:
    """Small products of matrices in ONNX Runtime, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnx.parser.parse_model(_NETWORK).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    given = {"x": rng.random((_ROWS, _WIDTH), np.float32), "w": rng.random((_WIDTH, _WIDTH), np.float32) / _WIDTH}

    def run() -> object:
        return [session.run(None, given) for _ in range(100)]

    return run
