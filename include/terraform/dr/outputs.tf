# The failover puts these into the Route 53 template, by their names.

output "load_balancer_dns_name" {
  description = "Where the site's name is to lead"
  value       = aws_lb.this.dns_name
}

output "load_balancer_zone_id" {
  description = "Hosted zone of the load balancer, for an alias record"
  value       = aws_lb.this.zone_id
}

output "database_endpoint" {
  description = "The database that the application was given"
  value       = var.database_endpoint
}
