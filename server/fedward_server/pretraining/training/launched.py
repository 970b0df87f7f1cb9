"""What torchrun, or accelerate, has told this process of itself and its like."""

import os

from fedward_shared.errors import UsageError

SHARED_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


def worker_count() -> int:
    """How many workers train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_rank() -> int:
    """Which of them this is."""
    return int(os.environ.get("RANK", "0"))


def local_count() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def check_store() -> None:
    """Raises UsageError where workers that begin again could not find each other.

    torchrun's own store outlives the workers, and with it the addresses of those that died: who begins
    again and reads one waits for it without end (pytorch/pytorch#135712).
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if shared and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        raise UsageError(
            "torchrun may begin the workers again, who would then wait for those that died: "
            f"set {SHARED_STORE}=1 for torchrun, and take --standalone or --rdzv-backend c10d"
        )
