"""Systems without pretraining: what a pretrained network is compared with. They are evaluated as they start."""
