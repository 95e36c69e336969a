"""The pack as the Pulumi engine sees it: a server of the analyzer protocol in front of the rules."""
