"""A real training to search for: a small network that learns a curve, in a few milliseconds."""

import math
import sys
from pathlib import Path

from fedward_shared.searching.search import Choice, Parameters, Range, Report, SearchTerms, search

STEPS = 8
PARAMETERS = {
    "rate": Range(low=1e-4, high=0.5, log=True),
    "width": Range(low=2, high=32, whole=True),
    "activation": Choice(values=("relu", "tanh")),
}


def terms(**values) -> SearchTerms:
    return SearchTerms(**{"parameters": PARAMETERS, "trials": 8, "startup": 3} | values)


def train(parameters: Parameters, report: Report) -> float:
    """Plain gradient descent on sin(3x); the mean squared error after the last step."""
    import torch

    x_N1 = torch.linspace(-1, 1, 64)[:, None]
    y_N1 = torch.sin(3 * x_N1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        between = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[str(parameters["activation"])]
        width = int(parameters["width"])
        net = torch.nn.Sequential(torch.nn.Linear(1, width), between(), torch.nn.Linear(width, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=float(parameters["rate"]))
    for step in range(STEPS):
        loss = ((net(x_N1) - y_N1) ** 2).mean()
        report(step, loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ((net(x_N1) - y_N1) ** 2).mean().item()


def slow(parameters: Parameters, report: Report) -> float:
    """Says which trial it has begun, and waits for whoever wants to kill it; needs no torch."""
    print(report.number, flush=True)
    sys.stdin.readline()
    return abs(math.log10(float(parameters["rate"])) + 2)


if __name__ == "__main__":
    search(Path(sys.argv[1]), terms(trials=int(sys.argv[2])), slow, seed=1)
