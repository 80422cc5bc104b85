"""Files of descriptions: ours is in order, and a user's mistake is one sentence that says where it is."""

import pytest

from report_parsing.knowledge.base import KnowledgeBase
from report_parsing.knowledge.descriptions import DescriptionError, read_own, read_shipped
from report_parsing.vocabulary import ENTITIES

VERSION, SHIPPED = read_shipped()
HEADER = "kind,name,aliases,description,source\n"
GOOD = "unseen,zebra lung,striped lung|zl,White stripes across both lungs.,own\n"


@pytest.fixture
def own(tmp_path):
    """Writes a user's file and reads it."""

    def read(text, encoding="utf-8"):
        path = tmp_path / "own.csv"
        path.write_text(text, encoding=encoding)
        return read_own(path, SHIPPED)

    return read


def test_ours_has_a_version_words_and_sources():
    assert VERSION.isdigit()
    assert [item.name for item in SHIPPED if item.kind == "entity"] == list(ENTITIES)
    assert len([item for item in SHIPPED if item.kind == "unseen"]) >= 20
    assert len({item.description for item in SHIPPED}) == len(SHIPPED)
    for item in SHIPPED:
        assert item.source
        assert 12 <= len(item.description.split()) <= 30, item.name
        assert item.aliases or item.kind == "entity", item.name


def test_a_users_file_is_read(own):
    remark = "# what I look for\n"
    (item,) = own(remark + HEADER + 'unseen, zebra lung ,striped lung | zl,"White, black",own\n', "utf-8-sig")
    assert item == ("unseen", "zebra lung", "White, black", "own", ("striped lung", "zl"))


def test_columns_may_stand_in_any_order(own):
    (item,) = own("name,source,kind,description,aliases,remark\nzebra,own,unseen,Stripes.,,mine\n")
    assert (item.name, item.aliases) == ("zebra", ())


def test_a_users_name_may_be_one_of_our_aliases(own):
    assert own(HEADER + "unseen,empyema,pus around the lung,White lens shape.,own\n")[0].name == "empyema"


def test_a_user_describes_an_entity_in_other_words(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "entity,Edema,wet lung,Water in the lungs.,own\n" + GOOD)
    base, shipped = KnowledgeBase.default(path), KnowledgeBase.default()
    names = [item.name for item in base.descriptions if item.kind == "entity"]
    assert names == list(ENTITIES)
    changed = [one.name for one, other in zip(base.descriptions, shipped.descriptions, strict=False) if one != other]
    assert changed == ["edema"]
    assert base.describe("edema") == "Water in the lungs."
    assert base.lookup("wet lung").name == "edema"
    assert base.version != shipped.version


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind,name,description,source\n", "own.csv has no column `aliases`; its first line must be kind,name,"),
        ("", "own.csv has no column `kind`"),
        (HEADER + "unseen,zebra,,,own\n", "own.csv, row 2, column `description` is empty"),
        (HEADER + "unseen,zebra\n", "own.csv, row 2, column `description` is empty"),
        (HEADER + "unseen,...,,Stripes.,own\n", "own.csv, row 2, column `name` is empty"),
        (HEADER + GOOD + "unseen,lion,,Mane.,\n", "own.csv, row 3, column `source` is empty"),
        (HEADER + "animal,zebra,,Stripes.,own\n", "row 2, column `kind`: `animal` is no kind of finding"),
        (HEADER + "entity,zebra,,Stripes.,own\n", "row 2, column `name`: `zebra` is none of the 75 entities"),
        (HEADER + 2 * "entity,Edema,,Water.,own\n", "row 3, column `name`: `edema` is described twice"),
        (HEADER + "unseen,COVID 19,,White.,own\n", "row 2, column `name`: `covid_19` is there already"),
        (HEADER + GOOD + "# remark\n" + GOOD, "row 4, column `name`: `zebra lung` is there already"),
        (HEADER + "unseen,zebra,zz|enlarged heart,Stripes.,own\n", "`enlarged heart` already means `cardiomegaly`"),
        (HEADER + GOOD + "unseen,zl,,Mane.,own\n", "row 2, column `aliases`: `zl` already means `zl`"),
        (HEADER + "unseen,zebra,,Stripes, white ones,own\n", "row 2 has more cells than there are columns"),
        (HEADER + GOOD + "unseen,lion,," + 200_000 * "x" + ",own\n", "own.csv, row 3 is no row of CSV (field larger"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_that_says_where(own, text, sentence):
    with pytest.raises(DescriptionError) as error:
        own(text)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DescriptionError, match=r"absent\.csv cannot be read \(No such file"):
        read_own(tmp_path / "absent.csv", SHIPPED)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DescriptionError, match="it is not UTF-8 text"):
        read_own(tmp_path / "binary.csv", SHIPPED)
