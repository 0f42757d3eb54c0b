"""What is generated from the CodeRed spec. Import ``codered_spec.validators`` instead."""
