"""Whether an image shows the chest, from the code of its body part or the words of its descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cohorts.described.dicom.views import NOTHING

CHEST, ELSEWHERE, NOT_SAID = "chest", "elsewhere", ""
_CHEST = re.compile(
    r"CHEST|THORA[XK]|TORAX|TÓRAX|TORACE|(?<!\w)LUNGS?(?!\w)|LUNGE|POUMON|PULM[OÓ]N|HEMITHORA|(?<!\w)(CXR|RTX|HEART|HERZ)(?!\w)"
)
# English, German, French and Spanish words; those of three letters or fewer stand alone.
_ELSEWHERE = re.compile(
    r"ABDOM|PELVI|BECKEN|BASSIN|CADERA|(?<!\w)(HIPS?|KUB|LWS|HWS|BWS|ISG|OSG|USG|LEGS?|ARMS?|EAR|EYE|JAW|TOES?)(?!\w)|"
    r"H[UÜ]FTE|HUEFTE|HANCHE|SPINE|WIRBEL|COLUMNA|RACHIS|SKULL|SCH[AÄ]DEL|SCHAEDEL|CR[AÁÂ]N|HEAD|KOPF|SINUS|NASAL|"
    r"KNEE|(?<!\w)KNIE|GENOU|RODILLA|HAND|MANO|WRIST|POIGNET|FINGER|THUMB|DAUMEN|FOOT|FU(SS|ß)|(?<!\w)PIED|FEET|"
    r"ANKLE|SPRUNGGELENK|CHEVILLE|TOBILLO|(?<!\w)CALCAN|HEEL|FERSE|ELBOW|ELLENBOGEN|COUDE|CODO|SHOULDER|SCHULTER|"
    r"[EÉ]PAULE|HOMBRO|CLAVIC|SCAPULA|HUMERUS|OBERARM|UNTERARM|FOREARM|RADIUS|ULNA|FEMUR|OBERSCHENKEL|UNTERSCHENKEL|"
    r"TIBIA|FIBULA|PATELLA|EXTREMIT|BREAST|MAMM|TEETH|DENTAL|MANDIB|SACRUM|COCCYX|(?<!\w)RIBS?(?!\w)|RIPPE|STERN[UA]M?|"
    r"NECK|(?<!\w)HALS(?!\w)|WHOLE ?BODY|GANZBEIN|BABYGRAM|STOMACH|MAGEN|COLON|KIDNEY|NIERE|BLADDER"
)


def judge_body_part(coded: Iterable[str], texts: Iterable[str]) -> str:
    """CHEST, ELSEWHERE or NOT_SAID: what the `coded` parts say or, where they say nothing, the words of `texts`.

    What names the chest and something else shows the chest.
    """
    parts = [part.strip().upper() for part in coded]
    if said := " ".join(part for part in parts if part not in NOTHING):
        return CHEST if _CHEST.search(said) else ELSEWHERE
    words = " ".join(texts).upper()
    if _CHEST.search(words):
        return CHEST
    return ELSEWHERE if _ELSEWHERE.search(words) else NOT_SAID
