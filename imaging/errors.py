"""Why an image cannot be used: a stable code to count by and a sentence that names no patient and no file.

What a file causes is an ImageError, and the image becomes a reject. What the machine causes is a MachineError: it ends
the run and no image is lost.
"""

from __future__ import annotations

from store.errors import UserError

REASONS = {
    "missing_file": "There is no file at this path.",
    "unreadable_file": "The file exists but may not be opened; correct its permissions.",
    "not_an_image": "The content is neither DICOM nor JPG nor PNG, whatever its name says.",
    "truncated_dicom": "The DICOM file ends before its pixels do; fetch it again.",
    "truncated_image": "The JPG or PNG file ends before its pixels do; fetch it again.",
    "no_pixels": "The DICOM file is whole but holds no pixels.",
    "unsupported_transfer_syntax": "The pixels are video or a compression that no radiograph uses; convert the file.",
    "unreadable_pixels": "The pixels, or the attributes that describe them, are damaged.",
    "constant_image": "All pixels of the image, or of what padding leaves of it, are the same but for a few letters.",
    "image_too_large": "The header announces more pixels than any radiograph has.",
    "too_much_memory": "Decoding the file takes more memory than any radiograph needs.",
    "decoder_timeout": "Decoding the file takes more processor time than any radiograph needs.",
    "decoder_died": "The decoder crashed on this file; it is damaged or was made to do so.",
}


class ImageError(UserError):
    """An image that cannot be used; `reason` is one of REASONS and `detail` its sentence."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail or REASONS[reason]
        super().__init__(reason, self.detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class MachineError(UserError):
    """The machine failed, not an image: a disk, the memory, or a decoder process that something ended or stopped.

    The message is one sentence: what failed, and that the same command goes on.
    """
