"""An AWS account in a box: moto as the AWS API, and the stand-in for Pulumi's `aws` provider."""
