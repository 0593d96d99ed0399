/** Keeps a fault in one view from taking the navigation with it. */
import { Component, type ReactNode } from "react";
import { ErrorState } from "../ui/States.tsx";
import { View } from "../ui/View.tsx";

interface BoundaryState {
  readonly error: Error | null;
}

export class Boundary extends Component<{ readonly children: ReactNode }, BoundaryState> {
  override state: BoundaryState = { error: null };

  static getDerivedStateFromError(error: unknown): BoundaryState {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <View title="This view failed">
        <ErrorState error={this.state.error} retry={() => this.setState({ error: null })} />
      </View>
    );
  }
}
