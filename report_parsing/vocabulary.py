"""The closed vocabularies: the 75 observations and 51 positions of MedKLIP, and the 14 labels of CheXpert.

Observations and positions are in the order of MedKLIP's label matrix, labels in the order of CheXpert's tables.
"""

from __future__ import annotations

ENTITIES: tuple[str, ...] = (
    *("normal", "clear", "sharp", "sharply", "unremarkable", "intact", "stable", "free"),
    *("effusion", "opacity", "pneumothorax", "edema", "atelectasis", "tube", "consolidation", "process"),
    *("abnormality", "enlarge", "tip", "low", "pneumonia", "line", "congestion", "catheter"),
    *("cardiomegaly", "fracture", "air", "tortuous", "lead", "disease", "calcification", "prominence"),
    *("device", "engorgement", "picc", "clip", "elevation", "expand", "nodule", "wire"),
    *("fluid", "degenerative", "pacemaker", "thicken", "marking", "scar", "hyperinflate", "blunt"),
    *("loss", "widen", "collapse", "density", "emphysema", "aerate", "mass", "crowd"),
    *("infiltrate", "obscure", "deformity", "hernia", "drainage", "distention", "shift", "stent"),
    *("pressure", "lesion", "finding", "borderline", "hardware", "dilation", "chf", "redistribution"),
    *("aspiration", "tail_abnorm_obs", "excluded_obs"),
)

# the first eight say that something is as it should be; the rest are abnormal or devices
NORMAL_ENTITIES: tuple[str, ...] = ENTITIES[:8]

DEVICE_ENTITIES = frozenset(
    {"tube", "tip", "line", "catheter", "lead", "device", "picc", "clip", "wire", "pacemaker", "drainage", "stent"}
    | {"hardware"}
)

POSITIONS: tuple[str, ...] = (
    *("trachea", "left_hilar", "right_hilar", "hilar_unspec", "left_pleural", "right_pleural"),
    *("pleural_unspec", "heart_size", "heart_border", "left_diaphragm", "right_diaphragm"),
    *("diaphragm_unspec", "retrocardiac", "lower_left_lobe", "upper_left_lobe", "lower_right_lobe"),
    *("middle_right_lobe", "upper_right_lobe", "left_lower_lung", "left_mid_lung", "left_upper_lung"),
    *("left_apical_lung", "left_lung_unspec", "right_lower_lung", "right_mid_lung", "right_upper_lung"),
    *("right_apical_lung", "right_lung_unspec", "lung_apices", "lung_bases", "left_costophrenic"),
    *("right_costophrenic", "costophrenic_unspec", "cardiophrenic_sulcus", "mediastinal", "spine"),
    *("clavicle", "rib", "stomach", "right_atrium", "right_ventricle", "aorta", "svc", "interstitium"),
    *("parenchymal", "cavoatrial_junction", "cardiopulmonary", "pulmonary", "lung_volumes"),
    *("unspecified", "other"),
)

NO_FINDING, SUPPORT_DEVICES = "No Finding", "Support Devices"
CHEXPERT_14: tuple[str, ...] = (
    *(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", SUPPORT_DEVICES),
)
POSITIVE, NEGATIVE, UNCERTAIN = 1.0, 0.0, -1.0  # values of a label
