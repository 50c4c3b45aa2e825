"""Redis: the queue of hints (sorted sets and Lua), wake-ups, progress, and the door for direct producers."""

from genpulse.mq.ingress import RedisIngress
from genpulse.mq.redis_manager import RedisManager
from genpulse.mq.server_check import UnsuitableServerError

__all__ = ["RedisIngress", "RedisManager", "UnsuitableServerError"]
