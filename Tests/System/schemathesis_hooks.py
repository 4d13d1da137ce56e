"""What Tests/System/schemathesis changes about the requests that are made up."""

import itertools
import uuid

import schemathesis

numbers = itertools.count(1)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives most requests an idempotency-key of their own, or nearly all of them would be refused: the first one that
    comes to mind is always the same. Every eighth keeps what it has, so that keys are used again, too."""
    key = case.headers.get("idempotency-key") if case.headers else None
    try:
        uuid.UUID(key)
    except (AttributeError, TypeError, ValueError):
        return
    number = next(numbers)
    if number % 8:
        case.headers["idempotency-key"] = str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
