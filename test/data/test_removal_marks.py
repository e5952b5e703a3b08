"""Marks for removal in translations, against sentences that have the word."""

import pytest

from speechlm.data.removal_marks import is_marked_for_removal

MARKS = """
[TO REMOVE]
[REMOVE]
REMOVE
REMOVE.
remove
(remove)
(Remove)
[to remove]
[To Remove]
To remove
TO REMOVE
[to be removed]
TO BE REMOVED
To be removed.
[TO BE REMOVED].
<REMOVE>
{TO REMOVE}
**REMOVE**
【REMOVE】
［ＴＯ ＲＥＭＯＶＥ］
"[TO REMOVE]"
[ TO  REMOVE ]
[TO REMMOVE]
[TO REOMVE]
[TO REMVE]
[REMOVED]
[TOREMOVE]
TO_REMOVE
TO-REMOVE
[TO RMOVE]
[TO REMOVE: not German]
<<REMOVE>>
#REMOVE#
ENTFERNEN
[FOR REMOVAL]
[PLEASE REMOVE]
[please remove this sentence]
[DELETE]
REMOVE THIS SENTENCE
--REMOVE--
[TO REMOVE
[TO REMOVE] Guten Tag.
Guten Tag. [TO REMOVE]
Guten Tag. (to be removed)
Guten [REMOVE] Tag.
REMOVE Guten Tag.
REMOVE: der Satz ist unverständlich
Guten Tag. REMOVE
TO BE REMOVED das ist kein Satz
REMOVE 你好
[zu entfernen]
[ENTFERNEN]
[à supprimer]
[eliminar]
[kaldırılacak]
[удалить]
[删除]
(حذف)
"""
SENTENCES = """
Please remove your hat.
Please remove
Remove all the leaves.
Remove from the shelf.
Remove lid.
Remove!
Remove it.
Delete.
Delete this row.
It has to be removed.
The trees were removed.
The (removed) trees were old.
He took the trees away (removed them).
The stain could not be removed [by anyone].
Press REMOVE to go on.
REMOVE YOUR HAT
RECORD all of it.
[laughter]
(remote)
[A pun on two names] Old friend!
That is [(Swiss) law of the cantons].
Entfernen Sie das!
Den Hut bitte (entfernen).
Entfernen
ROMEO
ROVER
Tom moved.
[da]
删除所有文件。
It got a B*.
"""


@pytest.mark.parametrize("translation", MARKS.strip().split("\n"))
def test_marks(translation):
    assert is_marked_for_removal(translation)


@pytest.mark.parametrize("translation", SENTENCES.strip().split("\n"))
def test_sentences_with_the_word(translation):
    assert not is_marked_for_removal(translation)


def test_the_source_tells_a_word_from_a_mark():
    assert is_marked_for_removal("Remove.", "Das ist ein ganzer Satz.")
    assert not is_marked_for_removal("Remove.", "Entfernen!")
    assert not is_marked_for_removal("Please remove.", "Das ist ein ganzer Satz.")
