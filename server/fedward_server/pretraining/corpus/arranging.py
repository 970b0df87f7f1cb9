"""What becomes of a document before it is tokens: pairs in either order, and words switched.

What is there for evaluation stays as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedward_server.pretraining.corpus.augmenting import (
    CodeSwitching,
    parallel,
    read_lexicon,
    switched,
)
from fedward_server.pretraining.corpus.making import as_it_is
from fedward_server.pretraining.corpus.sources import (
    Document,
    Segment,
    SourceTerms,
    content_digest,
)


class Arrangement:
    """What `Recipe.arrange` is; `decided` is what its `arranged` is: nothing where nothing is drawn.

    A pair of translations has both languages, and no word of it is switched. Lexicons are from `root`
    on. Raises DataError for one that cannot be read.
    """

    def __init__(
        self,
        sources: Sequence[SourceTerms],
        switching: Sequence[CodeSwitching],
        root: Path,
        seed: int,
    ) -> None:
        self._seed = seed
        self._switching = {
            terms.language: (read_lexicon(root / terms.lexicon), terms.share) for terms in switching
        }
        pairs = any(source.other_field and not source.evaluation for source in sources)
        self.decided: dict[str, Any] = {}
        if switching or pairs:
            lexicons = {
                terms.language: {
                    "lexicon": content_digest([root / terms.lexicon]),
                    "share": repr(terms.share),
                }
                for terms in switching
            }
            self.decided = {"seed": seed, "switching": lexicons}

    def __call__(self, source: SourceTerms, document: Document, number: int) -> Sequence[Segment]:
        """The segments of a document, of which `number` is that in the corpus."""
        segments = as_it_is(source, document, number)
        if source.evaluation:
            return segments
        if len(segments) == 2:
            return parallel(segments[0], segments[1], seed=self._seed, number=number)
        [(text, language)] = segments
        if language not in self._switching:
            return segments
        lexicon, share = self._switching[language]
        return (
            (
                switched(text, language, lexicon, share=share, seed=self._seed, number=number),
                language,
            ),
        )
