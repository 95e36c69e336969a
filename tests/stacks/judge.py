"""Which rules fire from a stack's file: `python -m tests.stacks.judge FILE …`."""

import sys
from pathlib import Path

from policies.judge import judge
from tests.stacks.documents import read

for name in sys.argv[1:]:
    document = read(Path(name))
    judgement = judge(document.as_stack(), document.configuration())
    print(f"{name}: {', '.join(sorted({found.rule.id for found in judgement.violations})) or 'nothing'}")
    for found in judgement.violations:
        print(f"  {found.rule.id} [{found.level}] {found.resource.name}: {found.line}")
    for unknown in judgement.open:
        print(f"  {unknown.rule.id} open {unknown.resource.name}: {unknown.where}")
