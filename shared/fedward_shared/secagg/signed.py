"""What the parties sign: their keys of an attempt, and who survived it."""

from fedward_shared.assurances import AttemptNumber, OfSite, RoundNumber
from fedward_shared.terms import Digest, Hexadecimal


class OfAttempt(OfSite):
    """By one site, about one attempt at one round."""

    round: RoundNumber
    attempt: AttemptNumber


class Advertisement(OfAttempt):
    """Two X25519 keys that serve for this attempt alone, and the digest of a self-mask seed."""

    KIND = "fedward/mask-keys/1"

    mask_key: Hexadecimal
    envelope_key: Hexadecimal
    commitment: Hexadecimal


class Agreement(OfAttempt):
    """Who has sent a masked vector, as the site was told; it will not sign another such set.

    `cohort` is that of the label; `survivors` the digest of who had shared secrets and who survived.
    """

    KIND = "fedward/survivors/1"

    cohort: Digest
    survivors: Digest
