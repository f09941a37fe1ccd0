# mypy: ignore-errors
# ruff: noqa: ARG001, ARG005
"""The compiled loops of `vqaudio.model.loops.likelihood`, for float32 and for bfloat16 in arrays of uint16."""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_INLINE = {"forceinline": True, "error_model": "numpy", "fastmath": {"contract"}}

_MIN_EXPONENT, _LOG2_E, _ONE = np.float32(-87), np.float32(math.log2(math.e)), np.float32(1)
_ROUND = np.float32(1.5 * 2**23)  # adding it leaves the nearest integer in the low bits
# 2 ** f for f in [-0.5, 0.5], interpolated at Chebyshev nodes: relative error 1e-7.
_C0, _C1, _C2, _C3, _C4, _C5 = np.array(
    [1.00000012, 0.693147182, 0.240221068, 0.0555035696, 0.00967603177, 0.00133908633], np.float32
)


@njit(**_OPTIONS)
def forward(logits: NDArray, codes: NDArray, log_sums: NDArray, errors: NDArray, Q: int, first: int, last: int) -> None:
    """Fill `log_sums` with log(sum(e ** logits)) of rows `first` to before `last`, and `errors` with their NLL."""
    for row in range(first, last):
        begin, top = row * Q, np.int32(-(2**31))
        for k in range(begin, begin + Q):
            top = max(top, _ordered(np.float32(_wide(logits[k])).view(np.int32)))
        largest = np.int32(_ordered(top)).view(np.float32)
        total = np.float32(0)
        for k in range(begin, begin + Q):
            total += _exp(_wide(logits[k]) - largest)
        log_sums[row] = largest + math.log(total)
        errors[row] = log_sums[row] - _wide(logits[begin + codes[row]])


@njit(**_OPTIONS)
def backward(
    logits: NDArray, codes: NDArray, log_sums: NDArray, grad: NDArray, out: NDArray, Q: int, first: int, last: int
) -> None:
    """Fill `out` with the gradients of the logits: (softmax - one-hot) * `grad`."""
    for row in range(first, last):
        begin, log_sum, scale = row * Q, log_sums[row], grad[row]
        for k in range(begin, begin + Q):
            out[k] = _narrow(_exp(_wide(logits[k]) - log_sum) * scale, out)
        k = begin + codes[row]
        out[k] = _narrow((_exp(_wide(logits[k]) - log_sum) - _ONE) * scale, out)


@njit(**_INLINE)
def _exp(x):
    """Return e ** x with a relative error of 2e-7 for x up to 0; NaN stays NaN."""
    scaled = (_MIN_EXPONENT if x < _MIN_EXPONENT else x) * _LOG2_E
    rounded = scaled + _ROUND
    f = scaled - (rounded - _ROUND)
    power = ((((_C5 * f + _C4) * f + _C3) * f + _C2) * f + _C1) * f + _C0
    exponent = np.int32(np.float32(rounded).view(np.int32) << 23)
    return np.int32(np.float32(power).view(np.int32) + exponent).view(np.float32)


@njit(**_INLINE)
def _ordered(bits):
    """Map the bits of floats to integers in the same order, and back; a maximum of integers vectorises."""
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF))


def _wide(item):
    """Return an item of an array as float32."""


def _narrow(value, array):
    """Return a float32 as an item of `array`; bfloat16 rounds to nearest, ties to even."""


@overload(_wide, jit_options=_INLINE)
def _wide_of(item):
    if item == types.float32:
        return lambda item: item
    return lambda item: np.uint32(np.uint32(item) << 16).view(np.float32)


@overload(_narrow, jit_options=_INLINE)
def _narrow_of(value, array):
    if array.dtype == types.float32:
        return lambda value, array: np.float32(value)
    return lambda value, array: _rounded(np.float32(value).view(np.uint32))


@njit(**_INLINE)
def _rounded(bits):
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + (np.uint32(bits >> 16) & np.uint32(1))) >> 16)
