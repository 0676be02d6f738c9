"""The contract as Django system checks."""

from django.core.checks import Error, register

from config import contract


@register
def contract_holds(app_configs, **kwargs) -> list[Error]:
    """Report every pair of variables that contradict each other."""
    return [Error(sentence, id="contract.E001") for sentence in contract.conflicts()]
