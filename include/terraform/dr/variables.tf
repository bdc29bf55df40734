variable "region" {
  description = "The DR region; set by the failover"
  type        = string
}

variable "environment" {
  description = "Set by the failover: dr"
  type        = string

  validation {
    condition     = var.environment == "dr"
    error_message = "This configuration is for the DR region alone."
  }
}

variable "database_endpoint" {
  description = "Host name of the promoted replica; set by the failover"
  type        = string
}

variable "database_port" {
  description = "Port of the database"
  type        = number
  default     = 3306
}

variable "database_secret" {
  description = "Name of the secret in AWS Secrets Manager that holds the application's login at the database"
  type        = string
  default     = "spoqplus/dr/database"
}

variable "database_security_group_id" {
  description = "The replica's security group, which is opened to the application; null: it is open already"
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "The VPC in the DR region, which is there already"
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in two availability zones at least"
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of the application servers"
  type        = list(string)
}

variable "certificate_arn" {
  description = "Certificate of the site's name in the DR region (ACM)"
  type        = string
}

variable "image_id" {
  description = "Image of the application server, copied to the DR region with each release"
  type        = string
}

variable "instance_type" {
  description = "Size of an application server"
  type        = string
  default     = "t3.large"
}

variable "instance_profile" {
  description = "Instance profile that may read the database's secret and the uploads' bucket"
  type        = string
}

variable "servers" {
  description = "How many application servers"
  type        = number
  default     = 2
}

variable "most_servers" {
  description = "How many it may be scaled to"
  type        = number
  default     = 6
}

variable "application_port" {
  description = "Port that nginx listens on"
  type        = number
  default     = 80
}

variable "health_check_path" {
  description = "A page that answers 200 when the application reaches its database"
  type        = string
  default     = "/health"
}
