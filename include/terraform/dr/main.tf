# The application of SPOQ Plus in the DR region: servers from a launch template behind a load balancer.
#
# It makes what is missing and destroys nothing: the network, the images, the certificate and the database are there
# already, and are named by variables. The database is the promoted replica; its address comes from the failover.

terraform {
  required_version = ">= 1.10" # the state's lock lies in S3 itself since then (use_lockfile)

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # Bucket, key and region come from `dr.terraform.backend` in the site's file. The bucket is in the DR region: the
  # state has to be readable when production's region is not.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Service     = "spoqplus"
      Environment = var.environment
      ManagedBy   = "spoqplus-backup"
    }
  }
}

locals {
  name = "spoqplus-${var.environment}"
}

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_security_group" "load_balancer" {
  name        = "${local.name}-lb"
  description = "SPOQ Plus: visitors to the load balancer"
  vpc_id      = data.aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTPS from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "http" {
  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTP, which is sent on to HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 80
  to_port           = 80
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_application" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "To the application servers"
  referenced_security_group_id = aws_security_group.application.id
  from_port                    = var.application_port
  to_port                      = var.application_port
  ip_protocol                  = "tcp"
}

resource "aws_security_group" "application" {
  name        = "${local.name}-app"
  description = "SPOQ Plus: application servers"
  vpc_id      = data.aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  security_group_id            = aws_security_group.application.id
  description                  = "From the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  from_port                    = var.application_port
  to_port                      = var.application_port
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.application.id
  description       = "To the database, S3, payments"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

# The database's own security group lets the application in; it is not made here, so nothing here can close it.
resource "aws_vpc_security_group_ingress_rule" "database" {
  count = var.database_security_group_id == null ? 0 : 1

  security_group_id            = var.database_security_group_id
  description                  = "SPOQ Plus in the DR region"
  referenced_security_group_id = aws_security_group.application.id
  from_port                    = var.database_port
  to_port                      = var.database_port
  ip_protocol                  = "tcp"
}

resource "aws_lb" "this" {
  name               = local.name
  load_balancer_type = "application"
  security_groups    = [aws_security_group.load_balancer.id]
  subnets            = var.public_subnet_ids
}

resource "aws_lb_target_group" "application" {
  name     = local.name
  port     = var.application_port
  protocol = "HTTP"
  vpc_id   = data.aws_vpc.this.id

  health_check {
    path                = var.health_check_path
    matcher             = "200"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  stickiness {
    type    = "lb_cookie" # sessions lie on the server
    enabled = true
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.application.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_launch_template" "application" {
  name                   = local.name
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.application.id]
  update_default_version = true

  iam_instance_profile {
    name = var.instance_profile
  }

  metadata_options {
    http_tokens = "required"
  }

  # Where the database is, and the name of the secret with its login: never the login itself, which anybody who may
  # describe instances could read.
  user_data = base64encode(templatefile("${path.module}/user-data.sh", {
    database_endpoint = var.database_endpoint
    database_port     = var.database_port
    database_secret   = var.database_secret
    region            = var.region
  }))
}

resource "aws_autoscaling_group" "application" {
  name                      = local.name
  min_size                  = var.servers
  max_size                  = max(var.servers, var.most_servers)
  desired_capacity          = var.servers
  vpc_zone_identifier       = var.private_subnet_ids
  target_group_arns         = [aws_lb_target_group.application.arn]
  health_check_type         = "ELB"
  health_check_grace_period = 180
  wait_for_capacity_timeout = "15m"

  launch_template {
    id      = aws_launch_template.application.id
    version = aws_launch_template.application.latest_version
  }

  lifecycle {
    ignore_changes = [desired_capacity] # whoever scales it by hand that night is not undone by a retry
  }
}
