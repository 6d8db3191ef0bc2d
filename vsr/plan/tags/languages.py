"""Languages as files name them, and what MP4 and QuickTime can name.

Matroska takes any tag: codes of ISO 639-2, or tags of BCP 47 (``pt-BR``), whose first part is the
shortest code there is. MP4 has three lower-case letters (ISO/IEC 14496-12, 8.4.2: ISO 639-2/T). Of
QuickTime, FFmpeg's muxer writes the languages that Macintosh numbered (QuickTime File Format
Specification, "Language Code Values"), and nothing for others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Language", "language_for"]

# ISO 639-1, and the code of ISO 639-2/T (for ``sh``, ISO 639-3) for the same; ``iw``, ``in`` and
# ``ji`` are what ``he``, ``id`` and ``yi`` once were (IANA's registry of subtags).
_THREE_LETTERS = """
    aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak
    be:bel bg:bul bi:bis bm:bam bn:ben bo:bod br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre
    cs:ces cu:chu cv:chv cy:cym da:dan de:deu dv:div dz:dzo ee:ewe el:ell en:eng eo:epo es:spa
    et:est eu:eus fa:fas ff:ful fi:fin fj:fij fo:fao fr:fra fy:fry ga:gle gd:gla gl:glg gn:grn
    gu:guj gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye hz:her ia:ina id:ind
    ie:ile ig:ibo ii:iii ik:ipk in:ind io:ido is:isl it:ita iu:iku iw:heb ja:jpn ji:yid jv:jav
    ka:kat kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau ks:kas ku:kur kv:kom
    kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah
    mi:mri mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt my:mya na:nau nb:nob nd:nde ne:nep ng:ndo
    nl:nld nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli
    pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron ru:rus rw:kin sa:san sc:srd sd:snd se:sme
    sg:sag sh:hbs si:sin sk:slk sl:slv sm:smo sn:sna so:som sq:sqi sr:srp ss:ssw st:sot su:sun
    sv:swe sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso
    tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho
    yi:yid yo:yor za:zha zh:zho zu:zul
"""
_TO_THREE = dict(pair.split(":") for pair in _THREE_LETTERS.split())

# The languages that QuickTime numbers, as FFmpeg's table has them, found by writing every code and
# reading it back.
_NUMBERED = """
    alb amh ara arm asm aym aze baq bel ben bul bur cat ces chi dan dut dzo eng epo est fin fra
    geo ger gre grn guj heb hin hun ice ind iri ita jav jpn kan kas kaz khm kin kir kor kur lao
    lat lav lit mac mal mar may mlg mlt mol mon nep nor nya ori orm per pol por pus que ron run
    rus san sin slk slv smi snd som spa sve swa tam tat tel tgk tgl tha tib tir tuk tur uig ukr
    urd uzb vie wel yid
"""
_QUICKTIME = set(_NUMBERED.split())
# Other codes for such languages, and what the table calls them; four of its names are two letters
# and a space. Norwegian has two written forms, of which it knows neither.
_OTHER_CODES = """
    deu:ger nld:dut swe:sve ell:gre isl:ice zho:chi gle:iri sqi:alb mkd:mac hye:arm kat:geo bod:tib
    mya:bur msa:may cym:wel eus:baq fas:per fre:fra rum:ron cze:ces slo:slk hrv:hr scr:hr srp:sr
    scc:sr fao:fo pan:pa nob:nor nno:nor
"""
_TO_QUICKTIME = dict(pair.split(":") for pair in _OTHER_CODES.split())
_WIDER = {"nob", "nno"}


@dataclass(frozen=True, slots=True)
class Language:
    """How a container names a language.

    Attributes:
        code: what FFmpeg's muxer is to be given, ``None``: it cannot be named there.
        whole: whether this says all that the source says (``por`` for ``pt-BR`` does not).
    """

    code: str | None
    whole: bool


def language_for(tag: str, names: Literal["any", "iso", "quicktime"]) -> Language:
    """``tag`` as a container has it that takes such ``names``.

    Args:
        tag: a code of ISO 639-1 or 639-2, a tag of BCP 47, one of QuickTime's names as FFmpeg has
            them, or several of these with commas between them (transport streams).
        names: of :class:`~vsr.types.ContainerSpec`.
    """
    if tag.strip() in ("", "und") or (names == "any" and tag == tag.strip()):
        return Language(tag, True)
    plain = tag.strip().lower()
    first = re.split(r"[-_,]", plain, maxsplit=1)[0]
    code = _TO_THREE.get(first)
    if code is None and re.fullmatch("[a-z]{3}", first):
        code = first
    if names == "any":
        return Language(code or tag, True)
    whole = code is not None and first == plain
    if names == "iso" or code is None or code in _QUICKTIME:
        return Language(code, whole)
    other = _TO_QUICKTIME.get(code)
    return Language(other and other.ljust(3), whole and other is not None and code not in _WIDER)
