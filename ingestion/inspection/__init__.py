"""Looks at a folder and says what it is: a published dataset, a manifest with images, or a tree of DICOM files."""
