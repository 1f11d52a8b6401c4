from derive.emit.torch.module import Module
