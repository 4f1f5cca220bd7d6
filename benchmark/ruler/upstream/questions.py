"""qa as upstream draws it; see ``drafts`` for the source."""

from __future__ import annotations

from benchmark.ruler.qa_data import Question, QuestionSet
from benchmark.ruler.upstream.checkout import Wording
from benchmark.ruler.upstream.drafts import Chance, Draft, Draws, Setting


class Questions(Draws):
    """A question with its documents among others."""

    def __init__(
        self,
        setting: Setting,
        chance: Chance,
        wording: Wording,
        document: str,
        data: QuestionSet,
        *,
        whole_article: bool,
    ) -> None:
        """``whole_article``: all documents that come with a question are its own, as HotpotQA's;
        else the one that answers it is, as SQuAD's, and the others come before those of others.
        """
        super().__init__(setting, chance, step=10)
        self._wording, self._document, self._data = wording, document, data
        self._whole_article = whole_article

    def draft(self, size: int, index: int = 0) -> Draft:
        """``size`` counts documents."""
        question = self._data.questions[index]
        texts = [self._data.documents[place] for place in self._places(question, size)]
        self.chance.shuffle(texts)
        context = "\n\n".join(
            self._document.format(i=number, document=text)
            for number, text in enumerate(texts, start=1)
        )
        before, asked, prefix = (
            text.format(context=context, query=question.text)
            for text in (self._wording.before, self._wording.question, self._wording.prefix)
        )
        return Draft(before, asked, prefix, question.answers)

    def _places(self, question: Question, size: int) -> list[int]:
        every = range(len(self._data.documents))
        if size >= len(every):
            laps = -(-size // len(every))
            return (list(every) * laps)[:size]
        own = list(question.article if self._whole_article else question.needed)
        near = [place for place in question.article if place not in own]
        free = size - len(own)
        if free <= len(near):
            return own + self.chance.random.sample(near, free)
        known = {*own, *near}
        far = [place for place in every if place not in known]
        return own + near + self.chance.random.sample(far, free - len(near))
