# mypy: ignore-errors
# ruff: noqa: ARG001, ARG005
"""The compiled loops of ``vqaudio.gate``, for float32 and for bfloat16 in arrays of uint16.

Only multiplications, additions, divisions and comparisons stand in the inner loops, so that LLVM makes them vectors. A
NaN stays one: training looks for it.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

# Fast arithmetic, except that NaN and infinity keep their meaning.
_OPTIONS = {"error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
_INLINE = {"forceinline": True, **_OPTIONS}

# tanh(x) = x p(x^2) / q(x^2) up to BOUND, to 3e-7: the rational function of Eigen (Core/MathFunctionsImpl.h).
_BOUND = np.float32(7.90531110763549805)
_P1, _P3, _P5, _P7, _P9, _P11, _P13 = np.array(
    [
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    ],
    np.float32,
)
_Q0, _Q2, _Q4, _Q6 = np.array(
    [4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06], np.float32
)
_HALF, _ONE = np.float32(0.5), np.float32(1)


@njit(cache=True, nogil=True, **_OPTIONS)
def forward(y: NDArray, condition: NDArray, h: NDArray, first: int, last: int) -> None:
    """Activate the frames from ``first`` to before ``last`` of ``y`` (N, T / N, B, 2 H) in place, and fill ``h``."""
    for n in range(first, last):
        for t in range(y.shape[1]):
            for i in range(y.shape[2]):
                _activate(y[n, t, i], condition[n, i], h[n, t, i])


@njit(**_OPTIONS)
def _activate(y, condition, h):
    H = len(h)
    for k in range(H):
        a = _tanh(_wide(y[k]) + _wide(condition[k]))
        b = _HALF * _tanh(_HALF * (_wide(y[H + k]) + _wide(condition[H + k]))) + _HALF
        y[k], y[H + k] = _narrow(a, y), _narrow(b, y)
        h[k] = _narrow(_wide(y[k]) * _wide(y[H + k]), h)


@njit(cache=True, nogil=True, **_OPTIONS)
def backward(grad_h: NDArray, activated: NDArray, grad_y: NDArray, totals: NDArray, first: int, last: int) -> None:
    """Fill ``grad_y`` (N, T / N, B, 2 H), its float32 sums ``totals`` (N, B, 2 H), and ``grad_h`` anew with ``h``."""
    for n in range(first, last):
        totals[n] = 0
        for t in range(grad_y.shape[1]):
            for i in range(grad_y.shape[2]):
                _differentiate(grad_h[n, t, i], activated[n, t, i], grad_y[n, t, i], totals[n, i])


@njit(**_OPTIONS)
def _differentiate(grad_h, activated, grad_y, totals):
    H = len(grad_h)
    for k in range(H):
        a, b, grad = _wide(activated[k]), _wide(activated[H + k]), _wide(grad_h[k])
        grad_a, grad_b = grad * b * (_ONE - a * a), grad * a * b * (_ONE - b)
        grad_y[k], grad_y[H + k] = _narrow(grad_a, grad_y), _narrow(grad_b, grad_y)
        totals[k] += grad_a
        totals[H + k] += grad_b
        grad_h[k] = _narrow(a * b, grad_h)


@njit(**_INLINE)
def _tanh(x):
    # In this order a comparison with NaN leaves it as it is.
    x = -_BOUND if x < -_BOUND else x
    x = _BOUND if x > _BOUND else x
    s = x * x
    p = (((((_P13 * s + _P11) * s + _P9) * s + _P7) * s + _P5) * s + _P3) * s + _P1
    return x * p / (((_Q6 * s + _Q4) * s + _Q2) * s + _Q0)


def _wide(value):
    """Return an item of an array as float32."""


def _narrow(value, array):
    """Return a float32 as an item of ``array``; bfloat16 rounds to nearest, ties to even."""


@overload(_wide, jit_options=_INLINE)
def _wide_of(value):
    if value == types.float32:
        return lambda value: value
    return lambda value: np.uint32(np.uint32(value) << 16).view(np.float32)


@overload(_narrow, jit_options=_INLINE)
def _narrow_of(value, array):
    if array.dtype == types.float32:
        return lambda value, array: value
    return lambda value, array: _rounded(np.float32(value).view(np.uint32))


@njit(**_INLINE)
def _rounded(bits):
    return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + (np.uint32(bits >> 16) & np.uint32(1))) >> 16)
