"""nginx: https://nginx.org — Debian's, as the front."""
