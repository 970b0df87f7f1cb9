"""The loop over optimiser steps and what it stands on: workers, schedule, checkpoints."""
