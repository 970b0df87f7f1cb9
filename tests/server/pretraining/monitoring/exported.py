"""What a pretraining exports, for the tests of what names it: reference, dashboard, alarms."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families


def families(registry: CollectorRegistry) -> dict[str, tuple[str, str]]:
    """Kind and labels of all that is exported, by the name under which it is asked for."""
    found: dict[str, tuple[str, str]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if not name.endswith("_created"):
            found[name] = (family.type, ", ".join(sorted(labels)))
    return found
