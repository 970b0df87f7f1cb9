"""Why a site has no part in a round or a session, as records and people are told."""

from fedward_shared.errors import RefusalCode

NO_REPLY = "no reply before the deadline"
SITE_ERROR = "the site's process failed"
NOT_CONNECTED = "not connected"
NOT_CHOSEN = "not in this round's cohort"
LATE = "late: enough others had answered"
LATER = f"refused: {RefusalCode.LATER.value}"
