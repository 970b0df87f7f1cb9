"""Postal addresses, and towns and institutions where the words about them make them known."""

import re

from fedward_client.preparation.identifiers.patterns import END, HAN, START, Pattern
from fedward_client.preparation.identifiers.spans import Kind
from fedward_client.preparation.identifiers.vocabulary import is_no_name

UP = "A-ZÀ-ÖØ-ÞŁŚŻČŠŽ"
PLAIN = rf"[{UP}][A-Za-zÀ-ÿ']{{0,30}}"
WORD = rf"{PLAIN}(?:-{PLAIN}){{0,3}}\.?"
SUFFIXES = (
    "Alley|Annex|Arcade|Avenue|Ave|Bayou|Beach|Bend|Bluff|Boulevard|Blvd|Branch|Bridge|Brook|Burg|Bypass|"
    "Camp|Canyon|Cape|Causeway|Center|Circle|Cir|Cliff|Close|Club|Common|Corner|Course|Court|Ct|Cove|Creek|"
    "Crescent|Crest|Crossing|Crossroad|Curve|Dale|Dam|Divide|Drive|Dr|Estate|Expressway|Extension|Fall|"
    "Ferry|Field|Flat|Ford|Forest|Forge|Fork|Fort|Freeway|Garden|Gateway|Glen|Green|Grove|Harbor|Haven|"
    "Heights|Highway|Hwy|Hill|Hollow|Inlet|Island|Isle|Junction|Key|Knoll|Lake|Landing|Lane|Ln|Light|Loaf|"
    "Lock|Lodge|Loop|Mall|Manor|Meadow|Mews|Mill|Mission|Motorway|Mountain|Neck|Orchard|Oval|Overpass|Park|"
    "Parkway|Pkwy|Pass|Passage|Path|Pike|Pine|Place|Pl|Plain|Plaza|Point|Port|Prairie|Radial|Ramp|Ranch|"
    "Rapid|Rest|Ridge|River|Road|Rd|Route|Row|Run|Shoal|Shore|Skyway|Spring|Spur|Square|Sq|Station|"
    "Stravenue|Stream|Street|St|Summit|Terrace|Throughway|Trace|Track|Trafficway|Trail|Tunnel|Turnpike|"
    "Underpass|Union|Valley|Via|Viaduct|View|Village|Ville|Vista|Walk|Wall|Way|Well|Wharf"
)
"""Of the US Postal Service's Publication 28, appendix C1, with British ones."""
STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]|RI|"
    "S[CD]|T[NX]|UT|V[AIT]|W[AIVY]|A[AEP]|AS"
)
UNITS = (
    "Einheiten|Leukozyten|Thrombozyten|Erythrozyten|Zellen|Schritte|Euro|Kopien|Partikel|Patienten|"
    "Mikroliter|Internationale|Stunden|Tage|Kolonien|Keime"
)
_TOWN = rf"(?:St\. )?{PLAIN}(?:[ -](?:am |an der |im |in der |vorm |vor der |auf dem |a\. ?d\. |ob der |bei |upon |on |sur )?{PLAIN}){{0,4}}"
_ZIP = r"[0-9]{5}(?:-[0-9]{4})?"
_UK = (
    r"(?:[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}|[ABCEGHJ-NPRSTVXY][0-9][A-Z] [0-9][A-Z][0-9]|[AC-Y][0-9][0-9W] ?[A-Z0-9]{4}|"
    r"(?:ACT|NSW|NT|QLD|SA|TAS|VIC|WA),? [0-9]{4})"
)
"""Postcodes of the United Kingdom, Canada, Ireland and Australia."""
_SEP = r"[,\n]{0,2}[ \n]{0,2}"
_FLAT = r"(?:Apt|Apartment|Suite|Ste|Unit|Flat|Studio|Floor|Room|Box)\.? ?#?[A-Za-z0-9]{1,6}"
_STREET = rf"(?:{_FLAT}{_SEP})?[0-9]{{1,6}}[A-Za-z]?,? (?:[NSEW]\.? )?(?:{WORD} ){{1,4}}?(?:{SUFFIXES})s?\.?(?![A-Za-z])"
_REST = rf"(?:{_SEP}{_FLAT})?(?:{_SEP}(?:{_TOWN}{_SEP}){{1,2}}(?:(?:{STATES})[ ,]{{1,2}}{_ZIP}|{_UK}|(?:{STATES}){END}))?"
_GERMAN = (
    rf"(?:[{UP}][A-Za-zÀ-ÿ]{{1,30}}[- ]){{0,3}}(?:[{UP}][A-Za-zÀ-ÿ]{{0,30}})?"
    r"(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|[Gg]asse|[Rr]ing|[Dd]amm|[Uu]fer|[Ss]teig|[Cc]haussee|"
    r"[Pp]fad|[Mm]arkt|[Hh]of|[Gg]raben|[Pp]ark|[Ss]tiege|[Zz]eile)"
)
_HOUSE = r" [0-9]{1,4}(?: ?[a-zA-Z](?![A-Za-z]))?(?:[-/][0-9]{1,3}[a-z]?){0,3}(?![0-9]|[.,][0-9]| ?(?:mg|ml|cm|mm|kg)\b)"
_PLZ = rf"(?:(?:D|DE|A|AT|CH)-)?[0-9]{{4,5}} (?!{UNITS}){_TOWN}"
_H = f"[{HAN}]"
_ROAD = rf"{_H}{{1,8}}(?:路|街|大道|道|巷|弄|胡同|村|小区|花园|新村)"


def _is_place(match: re.Match[str]) -> bool:
    """Not from Cardiology."""
    return not is_no_name(re.split("[ -]", match["value"])[0])


PLACES = tuple(
    Pattern(Kind.PLACE, name, re.compile(regex), _is_place if name == "town" else None)
    for name, regex in {
        "street": rf"{START}{_STREET}{_REST}",
        "PO box": rf"{START}(?i:P\.? ?O\.? ?Box|Postfach) ?[0-9][0-9 ]{{1,8}}",
        "military address": rf"{START}(?:PSC|Unit|USNS|USS|USCGC|USNV) [A-Z0-9][A-Za-z0-9, ]{{1,30}}\n?,? ?[AFD]PO,? A[AEP] {_ZIP}",
        "state and ZIP": rf"{START}(?:{_TOWN},? )?(?:{STATES}),? {_ZIP}{END}",
        "ZIP label": rf"{START}(?i:zip(?: ?code)?|postcode|post ?code|PLZ|Postleitzahl|邮编|邮政编码)[ :]{{0,3}}(?P<value>[A-Z0-9][A-Z0-9 -]{{2,8}}[A-Z0-9]){END}",
        "town and postcode": rf"{START}(?:{_TOWN},? )?{_UK}{END}",
        "UK postcode": rf"{START}(?:[A-Z]{{1,2}}[0-9][A-Z0-9]? [0-9][ABD-HJLNP-UW-Z]{{2}}){END}",
        "German street": rf"{START}{_GERMAN}{_HOUSE}(?:{_SEP}{_PLZ})?",
        "German postcode": rf"(?<![0-9A-Za-z.,])(?:(?:D|DE|A|AT|CH)-[0-9]{{4,5}} {_TOWN}|[0-9]{{5}} (?!{UNITS}){_TOWN})",
        "address label": (
            rf"{START}(?i:(?:home |postal |mailing |street )?address|anschrift|adresse|wohnort|wohnhaft(?: in)?|"
            rf"residence|resides at|lives at|living at|(?:家庭)?住址|(?:家庭|通讯|联系)?地址|现住址?|籍贯|户籍(?:地址)?)"
            rf" ?(?::| (?=[0-9{UP}])|(?={_H})) ?(?P<value>[^\n;。；]{{3,120}}?)(?=[\n;。；]|\. |[.]?$|[,，] ?(?i:tel|phone|电话|dob|geb))"
        ),
        "address block": (
            rf"{START}(?i:(?:home |postal |mailing )?address|lives at|resides at|residence|anschrift|adresse|wohnort|wohnhaft) ?:\s{{0,3}}"
            r"(?P<value>[^\n:]{3,60}(?:\n(?![^\n]{0,30}:)[^\n:.]{2,45}(?=\n|$)){0,3})"
        ),
        "town": (
            rf"{START}(?:lives in|living in|lived in|resides in|resident of|moved (?:from|to)|born in|"
            rf"(?:wohnt|lebt|geboren|geb\.) in|(?:Spital|Krankenhaus|Klinik|Praxis|Heim|Pflegeheim|hospital|clinic) in|zog nach|aus|from) (?P<value>{_TOWN})"
        ),
        "institution": (
            rf"{START}(?:{WORD} ){{1,4}}(?:(?:General|Memorial|Regional|Community|University|Children's|County) ){{0,2}}"
            rf"(?:Hospital|Medical Center|Medical Centre|Health Centre|Infirmary|Hospice)(?![a-z])|"
            rf"{START}(?:Klinikum|Krankenhaus|Universitätsklinikum|Klinik|Spital) (?:am |an der |im |St\. )?{_TOWN}"
        ),
        "Chinese address": (
            rf"(?:{_H}{{2,7}}(?:省|自治区|特别行政区))?(?:{_H}{{2,6}}(?:市|自治州|盟))?(?:{_H}{{1,6}}(?:区|县|旗|镇|乡))?{_ROAD}[0-9A-Za-z-]{{1,8}}号?"
            rf"(?:{_H}{{0,6}}[0-9A-Za-z-]{{1,6}}(?:号楼|栋|幢|座|单元|室|楼|层|号)){{0,4}}"
        ),
        "Chinese town": rf"(?:居住于|家住|住在|来自|籍贯)[:为是]?(?P<value>{_H}{{2,12}}?(?:省|市|区|县|镇|乡|村)(?:{_H}{{1,8}}(?:区|县|镇|乡|村))?)",
    }.items()
)
