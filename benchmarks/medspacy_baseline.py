"""medspaCy's target matcher and context on reports from stdin, timed; run by `benchmarks.report_parsing`.

medspaCy caps spaCy below our version, so it lives in an environment of its own and this file imports nothing of ours.
stdin: {"forms": {form: observation}, "reports": [text]}; stdout: {"seconds": float, "mentions": int}.
"""

import json
import sys
from time import process_time


def main() -> None:
    """Compile the rules, warm up, and time one pass."""
    import medspacy
    from medspacy.target_matcher import TargetRule

    given = json.load(sys.stdin)
    language = medspacy.load(enable=["medspacy_pyrush", "medspacy_target_matcher", "medspacy_context"])
    matcher = language.get_pipe("medspacy_target_matcher")
    matcher.add([TargetRule(form, observation) for form, observation in given["forms"].items()])
    for report in given["reports"][:5]:
        language(report)
    start = process_time()
    mentions = sum(len(language(report).ents) for report in given["reports"])
    print(json.dumps({"seconds": process_time() - start, "mentions": mentions}))


if __name__ == "__main__":
    main()
