"""Every error fedward raises on purpose, and the exit code each gives the command line.

FedwardError                    1
├── UsageError                  2   an option or argument that cannot be
├── DataError                   3   a data file: missing, empty, not UTF-8, unknown column, unknown label
│   └── Unreadable              3   a file of the ward that no reader can make sense of; quarantined
├── CharterError                4   a charter: a field that is wrong, or not the one that was approved
├── ModelError                  5   a base model: missing, another SHA-256, wants remote code
├── AdapterError                6   tensors: names, shapes, dtypes, NaN or infinity, norm
├── PrivacyError                7   privacy terms that cannot be, or no DP where nobody agreed to that
│   └── BudgetExceeded          7   a site's ε or δ is used up
├── StateError                  8   a ledger, checkpoint or lock that is corrupt or held by another
├── CohortError                 9   fewer sites than the charter's minimum
│   └── RoundAbandoned          9   secure aggregation without enough survivors
├── TransportError             10   the SuperLink cannot be reached or refuses
├── MissingExtra               11   an optional package is not installed
├── IdentityError              12   a key: missing, readable by others, under another passphrase
├── StatementError             13   a signed statement: not canonical, of another kind, a wrong signature
├── AuditError                 14   an audit log that was changed, cut off, or cannot be written
├── EnrolmentError             15   a coordinator does not admit a site, or no longer
├── GateError                  16   something that a site's gate does not let in or out
│   └── BundleRefused          16   an app bundle that no release of fedward has
├── NotNow                     17   outside a site's hours, or its rounds of the day are used up
├── InvariantViolated          18   a fault campaign in which a rule of the system did not hold
├── AggregationError           19   a message of secure aggregation that does not fit
├── AlignmentError             20   identifiers that cannot be compared, or nobody in common
├── ExchangeError              21   an envelope that is forged, or a peer that does not answer
└── Interrupted               130   Ctrl-C; what was finished is kept

A message says what was wrong, where, and what to do about it. At a site, nothing of a message
leaves: what crosses the wire is a :class:`RefusalCode`, which depends on the kind of the error alone.
"""

from enum import StrEnum
from typing import ClassVar


class RefusalCode(StrEnum):
    """What a site tells the coordinator when it will not or cannot train.

    Fixed words: none of them depends on a record, so sending one costs no privacy. A data problem is
    reported as `data` whatever it was (an empty file, one class only, an unknown label). `alignment`:
    too few records in common, which the peers see too, or points that are none. `later` alone says that
    the same request may be answered at another hour.
    """

    DATA = "data"
    CHARTER = "charter"
    MODEL = "model"
    ADAPTER = "adapter"
    PRIVACY = "privacy"
    BUDGET = "budget"
    STATE = "state"
    BUNDLE = "bundle"
    ALIGNMENT = "alignment"
    EXCHANGE = "exchange"
    LATER = "later"
    PROTOCOL = "protocol"
    INTERNAL = "internal"


class FedwardError(Exception):
    """The root. `exit_code` is what `fedward` ends with; `refusal` is what a site sends."""

    exit_code: ClassVar[int] = 1
    refusal: RefusalCode = RefusalCode.INTERNAL


class UsageError(FedwardError):
    """An option or argument that cannot be."""

    exit_code = 2


class DataError(FedwardError):
    """A data file that cannot be used; the message names the file and the field."""

    exit_code = 3
    refusal = RefusalCode.DATA


class Unreadable(DataError):
    """A file that a reader cannot read as a whole; the message is the reason of its quarantine."""


class CharterError(FedwardError):
    """A charter with a wrong field, or one that this site has not approved."""

    exit_code = 4
    refusal = RefusalCode.CHARTER


class ModelError(FedwardError):
    """A base model that is missing, is not the one named, or wants to run its own code."""

    exit_code = 5
    refusal = RefusalCode.MODEL


class AdapterError(FedwardError):
    """Tensors that do not fit the charter's schema, or that hold NaN or infinity."""

    exit_code = 6
    refusal = RefusalCode.ADAPTER


class PrivacyError(FedwardError):
    """Privacy terms that cannot be met or that nobody agreed to."""

    exit_code = 7
    refusal = RefusalCode.PRIVACY


class BudgetExceeded(PrivacyError):
    """A site's ε or δ does not allow what was asked."""

    refusal = RefusalCode.BUDGET


class StateError(FedwardError):
    """A ledger or checkpoint that is corrupt, or a folder that another process holds."""

    exit_code = 8
    refusal = RefusalCode.STATE


class CohortError(FedwardError):
    """Fewer sites than the charter's minimum."""

    exit_code = 9


class RoundAbandoned(CohortError):
    """Too few sites are left to finish a masked round; no sum of it can be had."""


class TransportError(FedwardError):
    """The SuperLink cannot be reached, or refuses."""

    exit_code = 10


class MissingExtra(FedwardError):
    """An optional package is not installed; the message says how to install it."""

    exit_code = 11


class IdentityError(FedwardError):
    """A key that is missing, is open to others, or cannot be opened."""

    exit_code = 12
    refusal = RefusalCode.STATE


class StatementError(FedwardError):
    """A signed statement that is malformed, or not signed by whom it has to be."""

    exit_code = 13
    refusal = RefusalCode.CHARTER


class AuditError(FedwardError):
    """An audit log that is not what its institution wrote, or cannot be written."""

    exit_code = 14
    refusal = RefusalCode.STATE


class EnrolmentError(FedwardError):
    """A coordinator does not admit a site: a token that is used or expired, a certificate revoked."""

    exit_code = 15


class GateError(FedwardError):
    """Something that a site's gate does not let in or out."""

    exit_code = 16


class BundleRefused(GateError):
    """An app bundle that no release of fedward has."""

    refusal = RefusalCode.BUNDLE


class NotNow(FedwardError):
    """A round that a site would take part in at another hour."""

    exit_code = 17
    refusal = RefusalCode.LATER


class InvariantViolated(FedwardError):
    """A run of a fault campaign after which a rule of the system did not hold."""

    exit_code = 18


class AggregationError(FedwardError):
    """A message of secure aggregation of another attempt, that comes twice, or that contradicts."""

    exit_code = 19
    refusal = RefusalCode.PROTOCOL


class AlignmentError(FedwardError):
    """Identifiers that cannot be compared, a peer's points that are none, or nobody in common."""

    exit_code = 20
    refusal = RefusalCode.ALIGNMENT


class ExchangeError(FedwardError):
    """An envelope that is forged or of another session, or a peer that does not answer."""

    exit_code = 21
    refusal = RefusalCode.EXCHANGE


class Interrupted(FedwardError):
    """The person pressed Ctrl-C; finished rounds are kept."""

    exit_code = 130
