"""Several CAs that are clones of one, as one CA: watched, chosen from, and stood in for when one is away."""

from kipuka.authority.pool.breaker import Thresholds
from kipuka.authority.pool.health import Health, Status, Transition
from kipuka.authority.pool.member import Member
from kipuka.authority.pool.pool import Pool
from kipuka.authority.pool.vitals import Vitals
from kipuka.authority.pool.watch import Watch

__all__ = ["Health", "Member", "Pool", "Status", "Thresholds", "Transition", "Vitals", "Watch"]
