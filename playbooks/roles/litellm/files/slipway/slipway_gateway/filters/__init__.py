"""What may not pass: numbers of people and whatever else a site names, in what a team asks and in what it is answered.

`numbers` and `patterns` find them in a text, `text` says what is done about them, `bodies` knows where texts stand in
requests and answers, and `streams` does the same for answers that come in pieces. `file` reads filters.json.

A filter knows shapes and checksums, and nothing of what a text means: a number that somebody writes out in words passes.
"""
