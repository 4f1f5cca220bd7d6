"""Plain English filler prose without end, made from templates and word lists."""

from __future__ import annotations

from random import Random


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_PEOPLE = _phrases(
    "the gardener|the old baker|a young teacher|the harbour master|my neighbour|the librarian|"
    "a travelling musician|the shopkeeper|the night watchman|her cousin|the village doctor|"
    "a retired engineer|the new apprentice|the captain|an amateur painter|the postman|"
    "his grandmother|a group of students|the mayor|the beekeeper|a visiting historian|the cook"
)
_PLACES = _phrases(
    "the market square|the railway station|the edge of the forest|a narrow side street|the harbour|"
    "the upper floor of the museum|a small workshop|the old stone bridge|the town library|"
    "the school yard|a farm near the coast|the back room of the bakery|the river bank|"
    "the botanical garden|a cottage in the hills|the post office|the reading room|a quiet courtyard"
)
_THINGS = _phrases(
    "a box of letters|the broken clock|a map of the valley|three wooden chairs|the spare key|"
    "a basket of apples|the ledger|an unfinished portrait|a bundle of herbs|the brass telescope|"
    "a heavy coat|the weather diary|a jar of honey|two borrowed books|the ship's bell|"
    "a set of copper pans|the garden tools|an old photograph|the travel journal|a roll of canvas"
)
_ACTIONS = _phrases(
    "carried|repaired|described|wrapped|forgot|painted|weighed|polished|lent out|sorted|"
    "looked for|put away|sold|examined|hid|sketched|cleaned|brought back"
)
_TIMES = _phrases(
    "in the early morning|before the first snow|on a rainy afternoon|after supper|last autumn|"
    "during the long holidays|at the end of the week|shortly before noon|when the fog lifted|"
    "on market day|for the second time that year|while the shops were closed|late in the evening"
)
_WEATHER = _phrases(
    "The wind had turned to the north|A light rain was falling|The sky was almost white|"
    "Frost covered the windows|The air smelled of cut grass|Clouds were gathering over the hills|"
    "It had been dry for weeks|The sun stood low over the roofs|Thunder rolled far away"
)
_OPINIONS = _phrases(
    "nobody found that strange|most people agreed|the children were delighted|"
    "it seemed the sensible thing to do|there was little else to talk about|"
    "few remembered why|the cat did not care|no one had asked for it|it took longer than expected|"
    "that was how it had always been done|everybody had a different explanation"
)
_QUALITIES = _phrases(
    "quieter|larger|colder|older|brighter|more crowded|tidier|less expensive|darker|more cheerful"
)
_LINKS = _phrases("so|but|and|although|because")
_OPENINGS = _phrases(
    "After a while|In those days|As a rule|To everyone's surprise|Some years later|At first|"
    "Without much hurry|Now and then|On the whole|According to the local paper"
)

# A field in capitals starts with a capital letter; each use of a field is a new draw.
_TEMPLATES = (
    "{PERSON} {action} {thing} {time}.",
    "{PERSON} {action} {thing} and {action} {thing} {time}.",
    "{PERSON} walked to {place} {time}.",
    "{opening}, {person} {action} {thing}.",
    "{opening}, {person} met {person} at {place}.",
    "{weather}, {link} {opinion}.",
    "{weather} when {person} reached {place}.",
    "{PLACE} was {quality} than {place}, {link} {opinion}.",
    "{PLACE} looked {quality} {time}.",
    "{PERSON} had left {thing} at {place}, {link} {opinion}.",
    "Between {place} and {place} there was nothing to see {time}.",
    "{PERSON} told {person} about {thing}.",
    "{TIME}, {person} {action} {thing} near {place}.",
    "{PERSON} said that {place} had become {quality}, {link} {opinion}.",
    "What {person} wanted most was {thing}.",
    "{opening}, {place} seemed {quality} than before.",
    "{PERSON} waited at {place} until {person} arrived with {thing}.",
    "{THING} belonged to {person}, {link} {opinion}.",
    "It was {person} who {action} {thing} {time}.",
    "{PERSON} kept {thing} in {place}.",
    "{weather}, {link} {person} stayed at {place}.",
    "{PERSON} and {person} {action} {thing} together.",
    "Nobody at {place} had seen {thing} {time}.",
    "{PERSON} drew {place} from memory {time}.",
)  # fmt: skip

_WORDS = {
    "person": _PEOPLE,
    "place": _PLACES,
    "thing": _THINGS,
    "action": _ACTIONS,
    "time": _TIMES,
    "weather": _WEATHER,
    "opinion": _OPINIONS,
    "quality": _QUALITIES,
    "link": _LINKS,
    "opening": _OPENINGS,
}


class _Draws(dict[str, str]):
    """Fields of a template, drawn anew at each look-up."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def __missing__(self, field: str) -> str:
        words = self._rng.choice(_WORDS[field.lower()])
        return words[0].upper() + words[1:] if field.isupper() else words


def filler_sentence(rng: Random) -> str:
    """One sentence of filler prose: a capital first, a full stop last, no digits."""
    return rng.choice(_TEMPLATES).format_map(_Draws(rng))
