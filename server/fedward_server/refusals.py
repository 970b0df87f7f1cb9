"""What a site's refusal means, to the people who read of it."""

from fedward_shared.errors import RefusalCode

MEANING = {
    RefusalCode.DATA: "its data cannot be used",
    RefusalCode.CHARTER: "it has not approved the charter, or no longer does",
    RefusalCode.MODEL: "its model cannot be used",
    RefusalCode.ADAPTER: "tensors do not fit",
    RefusalCode.PRIVACY: "its settings do not allow the charter's terms of privacy",
    RefusalCode.BUDGET: "its ε or δ, or the charter's sessions are used up",
    RefusalCode.STATE: "its ledger, keys or journal cannot be used",
    RefusalCode.BUNDLE: "it does not let this bundle in",
    RefusalCode.ALIGNMENT: "too few records in common, or identifiers that cannot be compared",
    RefusalCode.EXCHANGE: "another party was away too long, or the session was over",
    RefusalCode.LATER: "at another hour",
    RefusalCode.PROTOCOL: "it needs another release of fedward",
    RefusalCode.INTERNAL: "an error that its own log describes",
}
