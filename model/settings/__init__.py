"""The settings of a stack file: what each key may be, and the rules between them."""
