"""The policy pack: `pulumi preview --policy-pack policies`."""

from policies.pack.server import main

main()
