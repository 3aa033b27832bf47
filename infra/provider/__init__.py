"""The native Pulumi provider `pulumi-resource-sealwave`.

Law: this folder carries Pulumi's calls to the engine and the engine's answers back. `server` alone knows gRPC,
`values` alone knows Pulumi's property values, and no decision about a node or a wave is taken here.
"""
