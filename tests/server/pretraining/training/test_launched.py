"""Workers that could not find each other again do not begin."""

import pytest

from fedward_server.pretraining.training.launched import SHARED_STORE
from fedward_server.pretraining.training.parallel import ParallelTerms, workers
from fedward_shared.errors import UsageError


@pytest.mark.parametrize("shared", ["True", "False"])
@pytest.mark.parametrize("restarts", ["0", "3"])
def test_workers_that_may_begin_again_do_not_share_torchrun_s_store(
    monkeypatch: pytest.MonkeyPatch, shared: str, restarts: str
) -> None:
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", shared)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", restarts)
    if (shared, restarts) == ("True", "3"):
        with pytest.raises(UsageError, match=f"set {SHARED_STORE}=1 for torchrun"):
            workers(ParallelTerms(precision="fp32"), [], 1.0)
    else:
        assert workers(ParallelTerms(precision="fp32"), [], 1.0).count == 1
