"""DICOM files: header, stored values of the first frame, and the grey levels that a viewer shows."""
