"""The review of a change on a code-review service's machines."""
