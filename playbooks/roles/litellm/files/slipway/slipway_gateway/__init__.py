"""What Slipway adds to LiteLLM: who may use which model, which backend answers, and what is passed through as it is.

`door` is what every request meets first. It asks `teams` who calls and `routes` what serves the model, and
has `serving` try one backend after another: through `native`, which passes a request on as it is, or
through `translated`, which has LiteLLM translate it for a provider. What a team's filters do not let pass is found by
`filters`, in requests at the door and in answers on their way back.
"""
