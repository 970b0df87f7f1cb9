"""What a hospital's folders look like before anybody has prepared them, and the truth about them.

    OUT/labels.csv                 code and label: the beginnings of codes, each with its chapter
    OUT/SITE/files/                what the ward has: all kinds that are read, and what none should take
    OUT/SITE/databases/            of which settings in `files/` tell
    OUT/SITE/tidy.jsonl            the diagnoses as the scenario has them: text, label, code, owner
    OUT/SITE/truth.json            canonical JSON: what a reader finds, and what is planted

The same seed, with the same versions of the packages that the texts come from, gives the same bytes.
"""
