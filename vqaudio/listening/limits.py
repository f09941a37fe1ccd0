"""How often somebody may ask: a token bucket for each."""

import time

MOST_KEYS = 10_000


class RateLimit:
    """Allows ``burst`` requests at once and ``per_second`` on average, to each key."""

    def __init__(self, per_second: float, burst: float) -> None:
        self.per_second, self.burst = per_second, burst
        self.buckets: dict[str, tuple[float, float]] = {}

    def allow(self, key: str) -> bool:
        """Count a request of ``key``; False when it is one too many."""
        now = time.monotonic()
        tokens, before = self.buckets.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.per_second)
        allowed = tokens >= 1
        self.buckets[key] = (tokens - allowed, now)  # goes to the end, so the first is the one unseen for longest
        if len(self.buckets) > MOST_KEYS:
            del self.buckets[next(iter(self.buckets))]
        return allowed
